#pragma once

#include <stdexcept>
#include <string>

namespace edgevit {

// Wrong use, or a file that is not believed: one line that says what and what to do. The program ends with 2.
class Refused : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

}  // namespace edgevit
