#pragma once

#include <string>
#include <vector>

#include "model.h"

namespace edgevit {

// How the golden data of one output were reproduced.
struct Verdict {
    std::string output;
    bool root_mean_square;
    double error;  // infinite where an output is not finite
    double bound;

    bool passed() const { return error <= bound; }
};

// Run a bundle's golden inputs, one after the other, and hold each output to the bound that the manifest records for the given
// probes. Throws Refused where it records none.
std::vector<Verdict> replay_golden(const Bundle& bundle, Model& model);

}  // namespace edgevit
