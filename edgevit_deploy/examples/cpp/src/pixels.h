#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgevit {

// (height, width) in pixels.
struct Size {
    int height;
    int width;
};

inline bool operator==(const Size& left, const Size& right) { return left.height == right.height && left.width == right.width; }

// A picture in 8 bits a channel: rows from the top, three bytes (R, G, B) a pixel.
struct Pixels {
    Size size;
    std::vector<std::uint8_t> bytes;

    explicit Pixels(Size given) : size(given), bytes(3 * static_cast<std::size_t>(given.height) * given.width) {}

    std::uint8_t* row(int y) { return bytes.data() + 3 * static_cast<std::size_t>(y) * size.width; }
    const std::uint8_t* row(int y) const { return bytes.data() + 3 * static_cast<std::size_t>(y) * size.width; }
};

}  // namespace edgevit
