// edgevit-vectors FILE: hold this program's preprocessing to vectors.json, which Pillow and NumPy made. Any difference is an
// error.
#include <cstdio>
#include <cstring>
#include <fstream>

#include "fields.h"
#include "picture.h"
#include "preprocess.h"
#include "sha256.h"
#include "top.h"

namespace {

using namespace edgevit;

Size size_of(const Json& sides) { return {sides.at(0).get<int>(), sides.at(1).get<int>()}; }

// A picture is made from its seed as the file says.
Pixels made(const Json& entry) {
    Pixels picture(size_of(entry.at("size")));
    auto state = entry.at("seed").get<std::uint32_t>();
    const bool noise = entry.at("kind") == "noise";
    for (std::uint8_t& byte : picture.bytes) {
        state = state * 1664525u + 1013904223u;
        byte = static_cast<std::uint8_t>(noise ? state >> 24 : 255 * (state >> 31));
    }
    return picture;
}

Interpolation interpolation_of(const Json& entry) {
    return entry.at("interpolation") == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear;
}

Preprocess preprocess_of(const Json& entry) {
    return {size_of(entry.at("resize")), size_of(entry.at("crop")), entry.at("fit") == "stretch",
            interpolation_of(entry),     entry.at("mean"),          entry.at("std"),
            entry.at("value_range")};
}

bool is(const Pixels& pixels, const Json& expected) { return sha256_of(pixels.bytes.data(), pixels.bytes.size()) == expected; }

bool is(const Planes& planes, const Json& expected) {
    if (const auto* bytes = std::get_if<std::vector<std::uint8_t>>(&planes))
        return sha256_of(bytes->data(), bytes->size()) == expected;
    const std::vector<float>& values = std::get<std::vector<float>>(planes);
    std::vector<std::uint8_t> bytes;  // little-endian, whatever the machine is
    for (const float value : values) {
        std::uint32_t bits;
        std::memcpy(&bits, &value, 4);
        for (int shift = 0; shift < 32; shift += 8)
            bytes.push_back(static_cast<std::uint8_t>(bits >> shift));
    }
    return sha256_of(bytes.data(), bytes.size()) == expected;
}

bool resize_holds(const Json& entry) {
    return is(resized(made(entry), size_of(entry.at("resized")), interpolation_of(entry)), entry.at("sha256"));
}

bool picture_holds(const Json& entry) {
    const Preprocess preprocess = preprocess_of(entry.at("preprocess"));
    const Pixels pixels = resized_and_cropped(made(entry), preprocess);
    return is(pixels, entry.at("sha256")) && is(planes_of(pixels, preprocess, Takes::tensor), entry.at("tensor_sha256")) &&
           is(planes_of(pixels, preprocess, Takes::image), entry.at("image_sha256")) &&
           is(planes_of(pixels, preprocess, Takes::uint8), entry.at("uint8_sha256"));
}

bool upright_holds(const Json& entry) {
    const Pixels pixels = upright(made(entry), entry.at("orientation"));
    return pixels.size == size_of(entry.at("upright")) && is(pixels, entry.at("sha256"));
}

bool top_holds(const Json& entry) { return top_of(entry.at("values")) == entry.at("top").get<std::vector<int>>(); }

int count_failures(const Json& vectors, const char* kind, bool (*holds)(const Json&)) {
    int failures = 0;
    for (const Json& entry : vectors.at(kind)) {
        if (!holds(entry)) {
            ++failures;
            std::printf("FAILED %s: %s\n", kind, entry.dump().substr(0, 200).c_str());
        }
    }
    std::printf("%s: %d of %d without a difference\n", kind, static_cast<int>(vectors.at(kind).size()) - failures,
                static_cast<int>(vectors.at(kind).size()));
    return vectors.at(kind).empty() ? 1 : failures;  // nothing was shown
}

}  // namespace

int main(int count, char** words) {
    if (count != 2) {
        std::fputs("usage: edgevit-vectors VECTORS.json\n", stderr);
        return 2;
    }
    try {
        std::ifstream file(words[1]);
        const Json vectors = Json::parse(file);
        const int failures = count_failures(vectors, "resize", resize_holds) +
                             count_failures(vectors, "pictures", picture_holds) +
                             count_failures(vectors, "upright", upright_holds) + count_failures(vectors, "top", top_holds);
        return failures == 0 ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "edgevit-vectors: %s cannot be read: %s\n", words[1], error.what());
        return 2;
    }
}
