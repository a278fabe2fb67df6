#pragma once

#include <array>
#include <cstdint>
#include <variant>
#include <vector>

#include "pixels.h"
#include "resize.h"

namespace edgevit {

// How a photograph becomes an input; the fields are those of manifest.json.
struct Preprocess {
    Size resize;
    Size crop;
    bool stretch;
    Interpolation interpolation;
    std::array<double, 3> mean;
    std::array<double, 3> deviation;  // `std` in the manifest
    std::array<double, 2> value_range;
};

// To what size a whole picture is resized.
Size resized_size(Size picture, const Preprocess& preprocess);

// Resize and cut the middle; what the crop shows beyond the picture is black. Throws Refused for a strip whose resized form would
// have more than 2^25 pixels.
Pixels resized_and_cropped(Pixels picture, const Preprocess& preprocess);

// What a model takes: floats that are normalised, or, where it normalises inside, from 0 to 255, as floats or as bytes.
enum class Takes { tensor, image, uint8 };

// Planes in the type that a model takes: of one picture three (R, G, B), of several one picture after the other.
using Planes = std::variant<std::vector<float>, std::vector<std::uint8_t>>;

std::size_t size_of(const Planes& planes);

// Picture `number` of several, each of which has `values`.
Planes one_of(const Planes& planes, std::size_t number, std::size_t values);

// The three planes of a picture.
Planes planes_of(const Pixels& pixels, const Preprocess& preprocess, Takes takes);

}  // namespace edgevit
