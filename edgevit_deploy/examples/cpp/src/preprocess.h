#pragma once

#include <array>
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

// Three planes (R, G, B) of float32: normalised, or, for a model that normalises inside (`takes_image`), from 0 to 255.
std::vector<float> planes_of(const Pixels& pixels, const Preprocess& preprocess, bool takes_image);

}  // namespace edgevit
