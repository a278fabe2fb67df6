#pragma once

#include "pixels.h"

namespace edgevit {

enum class Interpolation { bicubic, bilinear };

// Resize as Pillow does, to the last bit: antialiased, in integers. The longest side of a picture that fits is 2^17 pixels.
Pixels resized(Pixels picture, Size size, Interpolation interpolation);

}  // namespace edgevit
