// No more of ncnn than net.cpp asks for: a net whose output is the first value of each plane, and memory that may be lacking.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace ncnn {

inline bool no_memory = false;

class Mat {
public:
    Mat() = default;
    Mat(int width, int height, int channels) : dims(3), w(width), plane(width * height) {
        if (!no_memory)
            values = std::make_shared<std::vector<float>>(plane * channels);
        data = values ? values->data() : nullptr;
    }
    bool empty() const { return data == nullptr; }
    float* channel(int place) const { return static_cast<float*>(data) + place * plane; }
    operator float*() { return static_cast<float*>(data); }

    int dims = 0, w = 0, plane = 0;
    void* data = nullptr;
    std::shared_ptr<std::vector<float>> values;
};

struct Option {
    bool use_fp16_packed = true, use_fp16_storage = true, use_fp16_arithmetic = true, use_bf16_storage = false;
};

class Extractor {
public:
    int input(const char*, const Mat& mat) {
        given = mat;
        return mat.empty() ? -100 : 0;
    }
    int extract(const char*, Mat& mat) {
        mat = Mat(3, 1, 1);
        mat.dims = 1;
        for (int channel = 0; channel < 3; channel++)
            static_cast<float*>(mat.data)[channel] = given.channel(channel)[0];
        return 0;
    }

private:
    Mat given;
};

class Net {
public:
    int load_param(const char*) { return 0; }
    int load_model(const char*) { return 0; }
    Extractor create_extractor() { return {}; }
    Option opt;
};

}  // namespace ncnn
