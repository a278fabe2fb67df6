// The list of pictures that compare_preprocessing.py writes: a line each, "resize_h resize_w crop_h crop_w orientation path". What a
// picture becomes is written as raw RGB to OUT/NUMBER.rgb; on stdout there is a line for each: empty, or why it is not read.
#pragma once

#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "preprocess.h"

struct Job {
    edgevit::Preprocess preprocess;
    std::string path;
};

inline Job job_of(const std::string& line) {
    std::istringstream words(line);
    Job job{{{0, 0}, {0, 0}, false, edgevit::Interpolation::bicubic, {0, 0, 0}, {1, 1, 1}, {0, 1}}, ""};
    int orientation;
    words >> job.preprocess.resize.height >> job.preprocess.resize.width >> job.preprocess.crop.height >> job.preprocess.crop.width >>
        orientation;
    std::getline(words >> std::ws, job.path);
    return job;
}

template <typename Made>
int for_each_job(const char* list, const std::string& out, Made made) {
    std::ifstream lines(list);
    int number = 0;
    for (std::string line; std::getline(lines, line); ++number) {
        std::string refused;
        try {
            const edgevit::Pixels pixels = made(job_of(line));
            std::ofstream(out + "/" + std::to_string(number) + ".rgb", std::ios::binary)
                .write(reinterpret_cast<const char*>(pixels.bytes.data()), static_cast<std::streamsize>(pixels.bytes.size()));
        } catch (const std::exception& error) {
            refused = error.what();
        }
        std::printf("%s\n", refused.c_str());
        std::fflush(stdout);
    }
    return 0;
}
