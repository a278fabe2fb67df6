// edgevit-pixels PICTURE: write what this program decodes of a picture, upright, as a PPM file to stdout; for comparisons.
#include <cstdio>
#include <exception>

#include "picture.h"

int main(int count, char** words) {
    if (count != 2) {
        std::fputs("usage: edgevit-pixels PICTURE > OUT.ppm\n", stderr);
        return 2;
    }
    try {
        const edgevit::Pixels pixels = edgevit::read_picture(words[1]);
        std::printf("P6 %d %d 255\n", pixels.size.width, pixels.size.height);
        return std::fwrite(pixels.bytes.data(), 1, pixels.bytes.size(), stdout) == pixels.bytes.size() ? 0 : 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "edgevit-pixels: %s\n", error.what());
        return 2;
    }
}
