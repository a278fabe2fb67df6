#include "picture.h"

#include <algorithm>
#include <fstream>
#include <new>
#include <utility>

#include "errors.h"
#include "text.h"

namespace edgevit {
namespace {

constexpr double MAX_PIXELS = 1 << 28;
constexpr double MAX_SIDE = 1 << 17;
constexpr std::uintmax_t MAX_FILE_BYTES = std::uintmax_t{1} << 30;

Bytes read_file(const std::filesystem::path& path) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error))
        throw Refused("no such file; give a JPEG or PNG");
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    if (error || size > MAX_FILE_BYTES)
        throw Refused("cannot be read, or has more than 1 GB; give a JPEG or PNG");
    std::ifstream file(path, std::ios::binary);
    Bytes bytes(size);
    if (!file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size)))
        throw Refused("cannot be read; give a JPEG or PNG");
    return bytes;
}

Decoded decode(const Bytes& file) {
    if (file.size() >= 3 && file[0] == 0xFF && file[1] == 0xD8 && file[2] == 0xFF)
        return decode_jpeg(file);
    if (file.size() >= 8 && std::string(file.begin(), file.begin() + 8) == "\x89PNG\r\n\x1a\n")
        return decode_png(file);
    throw Refused("no picture that is read here; give a JPEG or PNG");
}

}  // namespace

void check_picture_size(double width, double height) {
    if (width < 1 || height < 1 || width * height > MAX_PIXELS || width > MAX_SIDE || height > MAX_SIDE)
        throw Refused("no pixels, more than 2^28, or a side of more than 2^17; make it smaller");
}

Pixels read_picture(const std::filesystem::path& path) {
    try {
        Decoded decoded = decode(read_file(path));
        return upright(std::move(decoded.pixels), decoded.orientation);
    } catch (const Refused& refused) {
        throw Refused(printable(path.string()) + ": " + refused.what());
    } catch (const std::bad_alloc&) {
        throw Refused(printable(path.string()) + ": not enough memory for its pixels; make it smaller");
    }
}

Pixels upright(Pixels picture, int orientation) {
    if (orientation < 2 || orientation > 8)
        return picture;
    const auto [height, width] = picture.size;
    const bool turned = orientation >= 5;
    Pixels result(turned ? Size{width, height} : picture.size);
    // Where the picture's first row and its first column have gone, is in each orientation's definition (EXIF 2.3, tag 0x0112).
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    for (int y = 0; y < result.size.height; ++y) {
        for (int x = 0; x < result.size.width; ++x) {
            const int column = turned ? y : x, row = turned ? x : y;
            const std::uint8_t* from =
                picture.row(from_below ? height - 1 - row : row) + 3 * (from_right ? width - 1 - column : column);
            std::copy_n(from, 3, result.row(y) + 3 * x);
        }
    }
    return result;
}

}  // namespace edgevit
