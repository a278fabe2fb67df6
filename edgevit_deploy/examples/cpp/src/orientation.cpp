#include <algorithm>
#include <cctype>
#include <optional>

#include "picture.h"

namespace edgevit {
namespace {

constexpr std::uint16_t ORIENTATION = 0x0112;
constexpr std::uint16_t SHORT = 3, LONG = 4;

// Numbers of a TIFF structure in its own byte order; none where they would lie beyond its end.
class Tiff {
public:
    Tiff(const Bytes& bytes, std::size_t start) : bytes_(bytes), start_(start) {
        little_ = start + 2 <= bytes.size() && bytes[start] == 'I' && bytes[start + 1] == 'I';
        big_ = start + 2 <= bytes.size() && bytes[start] == 'M' && bytes[start + 1] == 'M';
    }

    bool is_one() const { return (little_ || big_) && number(2, 2) == 42; }

    std::optional<std::uint32_t> number(std::size_t place, int size) const {
        const std::size_t all = bytes_.size() - std::min(start_, bytes_.size()), wanted = static_cast<std::size_t>(size);
        if (all < wanted || place > all - wanted)  // by differences: a sum of a stranger's numbers can begin at 0 again
            return std::nullopt;
        std::uint32_t value = 0;
        for (int i = 0; i < size; ++i)
            value = value << 8 | bytes_[start_ + place + (little_ ? size - 1 - i : i)];
        return value;
    }

private:
    const Bytes& bytes_;
    std::size_t start_;
    bool little_ = false, big_ = false;
};

std::optional<int> by_exif(const Bytes& exif) {
    const bool headed = exif.size() > 6 && std::string(exif.begin(), exif.begin() + 4) == "Exif";
    const Tiff tiff(exif, headed ? 6 : 0);
    const auto directory = tiff.is_one() ? tiff.number(4, 4) : std::nullopt;
    const auto count = directory ? tiff.number(*directory, 2) : std::nullopt;
    if (!count)
        return std::nullopt;
    for (std::uint32_t entry = 0; entry < *count; ++entry) {
        const std::size_t place = std::size_t{*directory} + 2 + 12 * std::size_t{entry};
        if (tiff.number(place, 2) != ORIENTATION)
            continue;
        const auto kind = tiff.number(place + 2, 2);
        const auto value = kind == SHORT ? tiff.number(place + 8, 2) : kind == LONG ? tiff.number(place + 8, 4) : std::nullopt;
        return value ? std::optional<int>(*value > 8 ? 1 : static_cast<int>(*value)) : std::nullopt;
    }
    return std::nullopt;
}

std::optional<int> by_xmp(const std::string& xmp) {
    const std::string name = "tiff:Orientation";
    for (std::size_t place = xmp.find(name); place != std::string::npos; place = xmp.find(name, place + 1)) {
        std::size_t value = place + name.size();
        value += xmp.compare(value, 2, "=\"") == 0 ? 2 : xmp.compare(value, 1, ">") == 0 ? 1 : xmp.size();
        if (value < xmp.size() && std::isdigit(static_cast<unsigned char>(xmp[value])))
            return xmp[value] - '0';
    }
    return std::nullopt;
}

}  // namespace

int orientation_of(const Bytes& exif, const std::string& xmp) {
    if (const auto found = by_exif(exif))
        return *found;
    return by_xmp(xmp).value_or(1);
}

}  // namespace edgevit
