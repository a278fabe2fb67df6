#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "pixels.h"

namespace edgevit {

// A picture as it is stored, and the orientation (1 to 8) that its metadata give; 1 where they give none.
struct Decoded {
    Pixels pixels;
    int orientation;
};

// A JPEG or PNG file in 8 bits a channel, RGB, turned upright, as Pillow's convert("RGB") and the reference in Python read it:
// transparency is dropped, of 16 bits the upper eight are kept, and no colour profile is applied. Throws Refused.
Pixels read_picture(const std::filesystem::path& path);

// Of the EXIF orientations 2 to 8; any other number leaves a picture as it is.
Pixels upright(Pixels picture, int orientation);

using Bytes = std::vector<std::uint8_t>;

Decoded decode_jpeg(const Bytes& file);
Decoded decode_png(const Bytes& file);

// Throws Refused for a size that no photograph has, before anything is allocated for it.
void check_picture_size(double width, double height);

// Orientation by EXIF (a TIFF structure, with or without "Exif\0\0" before it) or, where that has none, by XMP; 1 where neither
// has.
int orientation_of(const Bytes& exif, const std::string& xmp);

}  // namespace edgevit
