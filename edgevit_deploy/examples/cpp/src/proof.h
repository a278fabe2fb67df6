#pragma once

#include <string>

#include "manifest.h"

namespace edgevit {

// What was proven of a file, in the words of edgevit-deploy: "passed" where all was, and "failed" where the comparisons or the
// decisions that the manifest records do not bear out what it says of them.
std::string verdict(const Manifest& manifest);

// Why a file is not proven, as a line for a banner; nothing where its verdict begins with "passed".
std::string unproven(const Manifest& manifest);

}  // namespace edgevit
