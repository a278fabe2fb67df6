#pragma once

#include <string>
#include <string_view>

namespace edgevit {

// Text of a stranger for a screen: control characters and marks that turn the direction of writing are dropped, and bytes that
// are not UTF-8 become '?'. What is left cannot move a cursor, start a new line, or pass for another line.
std::string printable(std::string_view text);

bool is_utf8(std::string_view text);

}  // namespace edgevit
