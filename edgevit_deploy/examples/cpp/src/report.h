#pragma once

#include <optional>
#include <string>
#include <vector>

#include "golden.h"

namespace edgevit {

// One of the most probable classes of a picture.
struct Guess {
    int place;
    std::string label;
    double probability;
};

struct PictureResult {
    std::string path;
    std::vector<Guess> top;  // empty where an output is not finite: then nothing is decided
};

// What the program found out, to be shown to a person or to another program.
struct Report {
    std::string title;
    std::string runtime;
    std::string verdict;   // what was proven of the file
    std::string unproven;  // why it is not; else nothing
    std::string substitute;
    std::vector<PictureResult> pictures;
    std::optional<double> latency_ms;
    int repeat = 0;
    std::vector<Verdict> golden;

    // Whether every golden output is within its bound and every picture was decided.
    bool good() const;

    // What a script is told: 0 good, 1 not, 3 good, but of another arithmetic than the file's own.
    int exit_code() const;
};

std::string as_text(const Report& report);
std::string as_json(const Report& report);

}  // namespace edgevit
