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
    int rows;
    int same_first;  // of how many rows the largest output is the right one

    bool passed() const { return error <= bound; }
};

// Run a bundle's golden inputs, one after the other, and hold each output to the bound that the manifest records for the given
// probes, but to none that is wider than this program allows, in the measure of the file's precision. Throws Refused where the
// manifest records no bound, or where the golden outputs are so large that they prove nothing.
std::vector<Verdict> replay_golden(const Bundle& bundle, Model& model);

}  // namespace edgevit
