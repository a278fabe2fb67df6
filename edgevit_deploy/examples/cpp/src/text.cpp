#include "text.h"

#include <cstdint>

namespace edgevit {
namespace {

// The code point at `place` and its length in bytes; the length 0 stands for bytes that are not UTF-8.
struct Character {
    char32_t code;
    std::size_t length;
};

Character character_at(std::string_view text, std::size_t place) {
    const auto byte = [&](std::size_t index) { return static_cast<std::uint8_t>(text[index]); };
    const std::uint8_t first = byte(place);
    if (first < 0x80)
        return {first, 1};
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || place + length > text.size())
        return {0, 0};
    char32_t code = first & (0xFF >> (length + 1));
    for (std::size_t index = 1; index < length; ++index) {
        if ((byte(place + index) & 0xC0) != 0x80)
            return {0, 0};
        code = code << 6 | (byte(place + index) & 0x3F);
    }
    const char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    return code < smallest[length] || surrogate || code > 0x10FFFF ? Character{0, 0} : Character{code, length};
}

bool is_shown(char32_t code) {
    const bool control = code < 0x20 || (code >= 0x7F && code < 0xA0);
    const bool line = code == 0x2028 || code == 0x2029;
    const bool direction =
        (code >= 0x200B && code <= 0x200F) || (code >= 0x202A && code <= 0x202E) || (code >= 0x2060 && code <= 0x206F);
    return !control && !line && !direction && code != 0x061C && code != 0xFEFF;
}

}  // namespace

std::string printable(std::string_view text) {
    std::string shown;
    for (std::size_t place = 0; place < text.size();) {
        const Character character = character_at(text, place);
        if (character.length == 0)
            shown += '?';
        else if (is_shown(character.code))
            shown += text.substr(place, character.length);
        place += character.length == 0 ? 1 : character.length;
    }
    return shown;
}

bool is_utf8(std::string_view text) {
    for (std::size_t place = 0; place < text.size();) {
        const Character character = character_at(text, place);
        if (character.length == 0)
            return false;
        place += character.length;
    }
    return true;
}

}  // namespace edgevit
