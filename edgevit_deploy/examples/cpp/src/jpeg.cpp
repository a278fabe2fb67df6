// libjpeg-turbo with its own defaults (the accurate integer DCT, smooth chroma upsampling): what Pillow decodes with as well.
#include <cstdio>  // before jpeglib.h, which takes FILE for known

#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <string>

#include "errors.h"
#include "picture.h"

namespace edgevit {
namespace {

constexpr int APP1 = JPEG_APP0 + 1;
const std::string EXIF("Exif\0\0", 6), XMP("http://ns.adobe.com/xap/1.0/\0", 29);

// An error of libjpeg jumps, since its C frames cannot be left by an exception.
struct Errors {
    jpeg_error_mgr manager;
    std::jmp_buf back;
    char line[JMSG_LENGTH_MAX];
};

void jump_back(j_common_ptr decoder) {
    auto* errors = reinterpret_cast<Errors*>(decoder->err);
    decoder->err->format_message(decoder, errors->line);
    std::longjmp(errors->back, 1);
}

// A file that ends too early is an error: libjpeg would fill the rest with grey. Of other warnings nothing is said, as in Pillow.
void heed(j_common_ptr decoder, int level) {
    if (level < 0 && decoder->err->msg_code == JWRN_JPEG_EOF)
        jump_back(decoder);
}

class Decoder {
public:
    Decoder() {
        info_.err = jpeg_std_error(&errors_.manager);
        errors_.manager.error_exit = jump_back;
        errors_.manager.emit_message = heed;
    }
    ~Decoder() { jpeg_destroy_decompress(&info_); }
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    // No object with a destructor is made between setjmp and a jump: a jump would not destroy it.
    bool read_header(const Bytes& file) {
        if (setjmp(errors_.back))
            return false;
        jpeg_create_decompress(&info_);
        jpeg_mem_src(&info_, file.data(), file.size());
        jpeg_save_markers(&info_, APP1, 0xFFFF);
        jpeg_read_header(&info_, TRUE);
        info_.out_color_space = info_.num_components == 1 ? JCS_GRAYSCALE : info_.num_components == 4 ? JCS_CMYK : JCS_RGB;
        return true;
    }

    bool read_rows(std::uint8_t* to) {
        if (setjmp(errors_.back))
            return false;
        jpeg_start_decompress(&info_);
        const std::size_t stride = static_cast<std::size_t>(info_.output_width) * info_.output_components;
        while (info_.output_scanline < info_.output_height) {
            JSAMPROW row = to + stride * info_.output_scanline;
            jpeg_read_scanlines(&info_, &row, 1);
        }
        return true;
    }

    const jpeg_decompress_struct& info() const { return info_; }
    const char* line() const { return errors_.line; }

private:
    jpeg_decompress_struct info_{};
    Errors errors_{};
};

Refused damaged(const Decoder& decoder) {
    return Refused(std::string("damaged, cannot be read as a picture (") + decoder.line() + "); copy it again");
}

int orientation(const jpeg_decompress_struct& info) {
    Bytes exif;
    std::string xmp;
    for (auto marker = info.marker_list; marker != nullptr; marker = marker->next) {
        const std::string data(reinterpret_cast<const char*>(marker->data), marker->data_length);
        if (marker->marker == APP1 && data.compare(0, EXIF.size(), EXIF) == 0)  // a long one goes on in the next segment
            exif.insert(exif.end(), data.begin() + (exif.empty() ? 0 : EXIF.size()), data.end());
        if (marker->marker == APP1 && data.compare(0, XMP.size(), XMP) == 0)
            xmp = data.substr(XMP.size());
    }
    return orientation_of(exif, xmp);
}

// a * b / 255, rounded, by additions and shifts.
int scaled(int a, int b) {
    const int product = a * b + 128;
    return (product + (product >> 8)) >> 8;
}

void to_rgb(const std::uint8_t* from, int components, std::uint8_t* to) {
    if (components == 1) {
        to[0] = to[1] = to[2] = from[0];
        return;
    }
    // Four inks. Adobe stores them inverted (255 is no ink), and Pillow takes that for granted, with or without Adobe's marker.
    const int paper = from[3];
    for (int channel = 0; channel < 3; ++channel)
        to[channel] = static_cast<std::uint8_t>(std::max(0, paper - scaled(255 - from[channel], paper)));
}

}  // namespace

Decoded decode_jpeg(const Bytes& file) {
    Decoder decoder;
    if (!decoder.read_header(file))
        throw damaged(decoder);
    const int components = decoder.info().num_components;
    if (components != 1 && components != 3 && components != 4)
        throw Refused("a JPEG of " + std::to_string(components) + " channels; save it as RGB or grey");
    check_picture_size(decoder.info().image_width, decoder.info().image_height);
    Pixels pixels({static_cast<int>(decoder.info().image_height), static_cast<int>(decoder.info().image_width)});
    const std::size_t count = pixels.bytes.size() / 3;
    const int turn = orientation(decoder.info());
    if (components == 3) {
        if (!decoder.read_rows(pixels.bytes.data()))
            throw damaged(decoder);
        return {std::move(pixels), turn};
    }
    Bytes stored(count * components);
    if (!decoder.read_rows(stored.data()))
        throw damaged(decoder);
    for (std::size_t i = 0; i < count; ++i)
        to_rgb(stored.data() + components * i, components, pixels.bytes.data() + 3 * i);
    return {std::move(pixels), turn};
}

}  // namespace edgevit
