#include "preprocess.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "errors.h"

namespace edgevit {
namespace {

// A picture is resized whole up to this many pixels on the way: every photograph is.
constexpr double WHOLE_PIXELS = 1 << 25;

Pixels middle_of(const Pixels& picture, Size crop) {
    // nearbyint rounds a half to the even number, as Python does; another rounding would move every second crop by a pixel.
    const int top = static_cast<int>(std::nearbyint((picture.size.height - crop.height) / 2.0));
    const int left = static_cast<int>(std::nearbyint((picture.size.width - crop.width) / 2.0));
    Pixels result(crop);
    const int from = std::max(0, -left), until = std::min(crop.width, picture.size.width - left);
    for (int y = std::max(0, -top); y < std::min(crop.height, picture.size.height - top) && from < until; ++y)
        std::copy_n(picture.row(y + top) + 3 * (from + left), 3 * (until - from), result.row(y) + 3 * from);
    return result;
}

// `value_of` says what becomes of a channel's byte.
template <typename ValueOf>
auto planes_by(const Pixels& pixels, ValueOf value_of) {
    using Value = decltype(value_of(0, 0));
    const std::size_t count = pixels.bytes.size() / 3;
    std::vector<Value> planes(3 * count);
    for (int channel = 0; channel < 3; ++channel) {
        Value values[256];  // computed once
        for (int byte = 0; byte < 256; ++byte)
            values[byte] = value_of(channel, byte);
        for (std::size_t i = 0; i < count; ++i)
            planes[channel * count + i] = values[pixels.bytes[3 * i + channel]];
    }
    return planes;
}

}  // namespace

Size resized_size(Size picture, const Preprocess& preprocess) {
    const auto [height, width] = preprocess.resize;
    if (preprocess.stretch)
        return preprocess.resize;
    const double tall = static_cast<double>(height) * picture.width, wide = static_cast<double>(width) * picture.height;
    if (tall >= wide)
        return {height, static_cast<int>(std::min(tall / picture.height, 2e9))};
    return {static_cast<int>(std::min(wide / picture.width, 2e9)), width};
}

Pixels resized_and_cropped(Pixels picture, const Preprocess& preprocess) {
    const Size size = resized_size(picture.size, preprocess);
    const double between = static_cast<double>(std::max(size.height, picture.size.height)) * size.width;
    const double between_other = static_cast<double>(size.height) * std::max(size.width, picture.size.width);
    if (std::max(between, between_other) > WHOLE_PIXELS)
        throw Refused("a picture of " + std::to_string(picture.size.width) + " x " + std::to_string(picture.size.height) +
                      " pixels would be resized to " + std::to_string(size.width) + " x " + std::to_string(size.height) +
                      "; cut it to the part that matters");
    return middle_of(resized(std::move(picture), size, preprocess.interpolation), preprocess.crop);
}

std::size_t size_of(const Planes& planes) {
    return std::visit([](const auto& values) { return values.size(); }, planes);
}

Planes one_of(const Planes& planes, std::size_t number, std::size_t values) {
    return std::visit(
        [&](const auto& all) -> Planes {
            const auto start = all.begin() + static_cast<std::ptrdiff_t>(number * values);
            return std::decay_t<decltype(all)>(start, start + static_cast<std::ptrdiff_t>(values));
        },
        planes);
}

Planes planes_of(const Pixels& pixels, const Preprocess& preprocess, Takes takes) {
    if (takes == Takes::uint8)
        return planes_by(pixels, [](int, int byte) { return static_cast<std::uint8_t>(byte); });
    if (takes == Takes::image)
        return planes_by(pixels, [](int, int byte) { return static_cast<float>(byte); });
    return planes_by(pixels, [&](int channel, int byte) {  // in double, in the order of the Python reference
        const double low = preprocess.value_range[0], high = preprocess.value_range[1];
        return static_cast<float>((byte / 255.0 * (high - low) + low - preprocess.mean[channel]) / preprocess.deviation[channel]);
    });
}

}  // namespace edgevit
