// libpng reads the rows and nothing else: what becomes of grey, palette and transparency is decided here, as Pillow decides it.
#include <png.h>

#include <algorithm>
#include <cctype>
#include <csetjmp>
#include <cstring>

#include "errors.h"
#include "picture.h"

namespace edgevit {
namespace {

// Where libpng is in a file, and what it said last.
struct Source {
    const Bytes* file;
    std::size_t place;
    char line[200];
};

void read_some(png_structp png, png_bytep to, std::size_t size) {
    auto* source = static_cast<Source*>(png_get_io_ptr(png));
    if (size > source->file->size() - source->place)
        png_error(png, "it ends too early");
    std::copy_n(source->file->begin() + static_cast<std::ptrdiff_t>(source->place), size, to);
    source->place += size;
}

[[noreturn]] void jump_back(png_structp png, png_const_charp line) {
    auto* source = static_cast<Source*>(png_get_error_ptr(png));
    std::strncpy(source->line, line, sizeof source->line - 1);
    png_longjmp(png, 1);
}

void say_nothing(png_structp, png_const_charp) {}

class Reader {
public:
    explicit Reader(const Bytes& file) : source_{&file, 0, {}} {
        png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source_, jump_back, say_nothing);
        info_ = png_ ? png_create_info_struct(png_) : nullptr;
        if (!info_)
            throw Refused("cannot be read: not enough memory");
    }
    ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // No object with a destructor is made between setjmp and a jump: a jump would not destroy it.
    bool read_header() {
        if (setjmp(png_jmpbuf(png_)))
            return false;
        png_set_user_limits(png_, 1 << 17, 1 << 17);
        png_set_chunk_malloc_max(png_, 1 << 20);  // what Pillow lets a text have, and all texts of a file together
        png_set_chunk_cache_max(png_, 64);
        png_set_read_fn(png_, &source_, read_some);
        png_read_info(png_, info_);
        bits_ = png_get_bit_depth(png_, info_);  // as stored: what follows changes it
        png_set_strip_16(png_);                  // keeps the upper eight bits
        png_set_packing(png_);                   // a byte for each pixel of 1, 2 or 4 bits
        png_set_interlace_handling(png_);
        png_read_update_info(png_, info_);
        return true;
    }

    bool read_rows(png_bytep* rows) {
        if (setjmp(png_jmpbuf(png_)))
            return false;
        png_read_image(png_, rows);
        return true;
    }

    // EXIF may lie behind the pixels. A file that ends before that is a whole picture, for Pillow too.
    void read_end() {
        if (!setjmp(png_jmpbuf(png_)))
            png_read_end(png_, info_);
    }

    png_structp png() { return png_; }
    png_infop info() { return info_; }
    int bits() const { return bits_; }
    Refused damaged() const {
        return Refused(std::string("damaged, cannot be read as a picture (") + source_.line + "); copy it again");
    }

private:
    Source source_;
    png_structp png_ = nullptr;
    png_infop info_ = nullptr;
    int bits_ = 8;
};

// EXIF as ImageMagick wrote it before PNG had a chunk for it: a name, a length, and then lines of hexadecimal digits.
Bytes from_raw_profile(const std::string& text) {
    std::size_t start = 0;
    for (int line = 0; line < 3; ++line)
        start = std::min(text.find('\n', start), text.size() - 1) + 1;
    Bytes bytes;
    int half = -1;
    for (const char character : text.substr(start)) {
        if (std::isxdigit(static_cast<unsigned char>(character)) == 0)
            continue;
        const int digit =
            std::isdigit(static_cast<unsigned char>(character)) != 0 ? character - '0' : (character | 0x20) - 'a' + 10;
        if (half >= 0)
            bytes.push_back(static_cast<std::uint8_t>(16 * half + digit));
        half = half < 0 ? digit : -1;
    }
    return bytes;
}

int orientation(Reader& reader) {
    Bytes exif;
    std::string xmp, raw_profile;
#ifdef PNG_eXIf_SUPPORTED
    png_uint_32 size = 0;
    png_bytep data = nullptr;
    if (png_get_eXIf_1(reader.png(), reader.info(), &size, &data) != 0)
        exif.assign(data, data + size);
#endif
    png_textp texts = nullptr;
    const int count = png_get_text(reader.png(), reader.info(), &texts, nullptr);
    for (int i = 0; i < count; ++i) {
        if (texts[i].text != nullptr && std::strcmp(texts[i].key, "XML:com.adobe.xmp") == 0)
            xmp = texts[i].text;
        else if (texts[i].text != nullptr && std::strcmp(texts[i].key, "Raw profile type exif") == 0)
            raw_profile = texts[i].text;
    }
    if (exif.empty() && !raw_profile.empty())
        exif = from_raw_profile(raw_profile);
    return orientation_of(exif, xmp);
}

// What 256 stored values of a picture with a palette, or of a grey one, become.
std::vector<png_color> colours_of(Reader& reader) {
    std::vector<png_color> colours(256);
    const int largest = reader.bits() < 8 ? (1 << reader.bits()) - 1 : 255;
    const bool palette = png_get_color_type(reader.png(), reader.info()) == PNG_COLOR_TYPE_PALETTE;
    for (int value = 0; value < 256; ++value) {
        const auto grey = static_cast<png_byte>(palette ? 0 : std::min(value, largest) * 255 / largest);
        colours[value] = {grey, grey, grey};  // a palette that is too short goes on in black
    }
    png_colorp entries = nullptr;
    int count = 0;
    if (palette && png_get_PLTE(reader.png(), reader.info(), &entries, &count) != 0)
        std::copy_n(entries, count, colours.begin());
    return colours;
}

}  // namespace

Decoded decode_png(const Bytes& file) {
    Reader reader(file);
    if (!reader.read_header())
        throw reader.damaged();
    const png_uint_32 width = png_get_image_width(reader.png(), reader.info()),
                      height = png_get_image_height(reader.png(), reader.info());
    check_picture_size(width, height);
    const int channels = png_get_channels(reader.png(), reader.info());  // 1 grey or palette, 2 with transparency, 3, 4 likewise
    const std::size_t stride = png_get_rowbytes(reader.png(), reader.info());
    const std::vector<png_color> colours = colours_of(reader);
    Bytes stored(stride * height);
    std::vector<png_bytep> rows(height);
    for (png_uint_32 y = 0; y < height; ++y)
        rows[y] = stored.data() + stride * y;
    if (!reader.read_rows(rows.data()))
        throw reader.damaged();
    reader.read_end();
    Pixels pixels({static_cast<int>(height), static_cast<int>(width)});
    std::uint8_t* to = pixels.bytes.data();
    for (const png_bytep row : rows) {
        for (png_uint_32 x = 0; x < width; ++x, to += 3) {
            const std::uint8_t* from = row + static_cast<std::size_t>(channels) * x;
            if (channels >= 3)
                std::copy_n(from, 3, to);
            else
                to[0] = colours[*from].red, to[1] = colours[*from].green, to[2] = colours[*from].blue;
        }
    }
    const int turn = orientation(reader);
    return {std::move(pixels), turn};
}

}  // namespace edgevit
