// Pillow's 8-bit resampling. Of each pixel to be made, the weights of the pixels under its filter are computed in double, divided
// by their sum, and rounded to integers with 22 bits after the point. All else is integers, so that every compiler and every
// processor gives the same bytes as long as it computes the weights as written: see -ffp-contract=off in CMakeLists.txt.
#include "resize.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace edgevit {
namespace {

constexpr int BITS = 22;

// One pixel of a pass: the first pixel that it is made of, and the weights of that one and those after it.
struct Taps {
    int first;
    std::vector<std::int32_t> weights;
};

double bicubic(double x) {
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

double bilinear(double x) {
    x = std::fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

std::vector<Taps> taps_of(int from, int to, Interpolation interpolation) {
    const bool cubic = interpolation == Interpolation::bicubic;
    const double scale = static_cast<double>(from) / to;
    const double stretch = std::max(scale, 1.0);  // a smaller picture's filter covers more pixels: that is the antialiasing
    const double support = (cubic ? 2.0 : 1.0) * stretch, inverse = 1.0 / stretch;
    std::vector<Taps> all;
    all.reserve(to);
    for (int place = 0; place < to; ++place) {
        const double centre = (place + 0.5) * scale;
        const int first = std::max(0, static_cast<int>(centre - support + 0.5));
        const int last = std::min(from, static_cast<int>(centre + support + 0.5));
        std::vector<double> exact(last - first);
        double sum = 0.0;
        for (int i = 0; i < last - first; ++i) {
            const double x = (i + first - centre + 0.5) * inverse;
            exact[i] = cubic ? bicubic(x) : bilinear(x);
            sum += exact[i];
        }
        Taps taps{first, std::vector<std::int32_t>(exact.size())};
        for (std::size_t i = 0; i < exact.size(); ++i) {
            const double weight = (sum != 0.0 ? exact[i] / sum : exact[i]) * (1 << BITS);
            taps.weights[i] = static_cast<std::int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
        }
        all.push_back(std::move(taps));
    }
    return all;
}

std::uint8_t rounded(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> BITS, 0, 255)); }

constexpr std::int32_t HALF = 1 << (BITS - 1);

Pixels resized_across(const Pixels& picture, int width, Interpolation interpolation) {
    Pixels result({picture.size.height, width});
    const std::vector<Taps> all = taps_of(picture.size.width, width, interpolation);
    for (int y = 0; y < picture.size.height; ++y) {
        std::uint8_t* to = result.row(y);
        for (const Taps& taps : all) {
            const std::uint8_t* from = picture.row(y) + 3 * static_cast<std::size_t>(taps.first);
            std::int32_t red = HALF, green = HALF, blue = HALF;
            for (const std::int32_t weight : taps.weights) {
                red += from[0] * weight, green += from[1] * weight, blue += from[2] * weight;
                from += 3;
            }
            *to++ = rounded(red), *to++ = rounded(green), *to++ = rounded(blue);
        }
    }
    return result;
}

Pixels resized_down(const Pixels& picture, int height, Interpolation interpolation) {
    Pixels result({height, picture.size.width});
    const std::vector<Taps> all = taps_of(picture.size.height, height, interpolation);
    std::vector<std::int32_t> sums(3 * static_cast<std::size_t>(picture.size.width));
    for (int y = 0; y < height; ++y) {
        std::fill(sums.begin(), sums.end(), HALF);
        int row = all[y].first;
        for (const std::int32_t weight : all[y].weights) {
            const std::uint8_t* from = picture.row(row++);
            for (std::size_t i = 0; i < sums.size(); ++i)
                sums[i] += from[i] * weight;
        }
        std::transform(sums.begin(), sums.end(), result.row(y), rounded);
    }
    return result;
}

}  // namespace

Pixels resized(Pixels picture, Size size, Interpolation interpolation) {
    // Each pass rounds, so their order decides about the last bit, and a pass that changes no size is left out. Pillow 13 begins
    // with the height where that loses more than twice as many pixels as the width does.
    const auto [height, width] = picture.size;
    const bool down_first = size.height < height && height - size.height > 2 * (width - size.width);
    const auto down = [&](Pixels now) {
        return now.size.height == size.height ? std::move(now) : resized_down(now, size.height, interpolation);
    };
    const auto across = [&](Pixels now) {
        return now.size.width == size.width ? std::move(now) : resized_across(now, size.width, interpolation);
    };
    return down_first ? across(down(std::move(picture))) : down(across(std::move(picture)));
}

}  // namespace edgevit
