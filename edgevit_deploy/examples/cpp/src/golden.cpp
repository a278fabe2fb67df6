#include "golden.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "errors.h"
#include "text.h"

namespace edgevit {
namespace {

// Golden outputs are float64 rounded to float32: each may be off by this share of itself.
constexpr double FLOAT32_HALF_ULP = 1.0 / (1 << 24);

// No output of a network that anyone serves is larger: half precision ends at 65504. The bound grows with the outputs.
constexpr double MAX_GOLDEN = 1e6;

// The rules of edgevit-deploy itself, for whatever it converts to. A bound is a multiple of rounding noise, and noise is believed
// up to a share of the outputs: of the largest one, or of a quantised file of their root mean square.
constexpr double MAX_MULTIPLE = 10, QUANTISED_MULTIPLE = 2, QUANTISED_NOISE = 0.5;

double most_noise(const std::string& precision) { return precision == "fp32" ? 1e-5 : precision == "fp16" ? 2e-2 : 1e-1; }

const Diff& given(const Manifest& manifest, const std::string& output) {
    for (const Diff& diff : manifest.diffs)
        if (diff.output == output && diff.image_size == manifest.image_size)
            return diff;
    throw Refused("manifest.json: no bound for the golden data of " + printable(output) +
                  ": nothing was run; convert again where it runs");
}

struct Magnitude {
    double largest = 0;
    double root_mean_square = 0;
};

Magnitude magnitude_of(const std::vector<double>& values) {
    double largest = 0, squares = 0;
    for (const double value : values) {
        if (!std::isfinite(value))
            return {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
        largest = std::max(largest, std::fabs(value));
        squares += value * value;
    }
    return {largest, std::sqrt(squares / static_cast<double>(values.size()))};
}

// The widest bound for golden outputs of this magnitude: a bundle that grants itself a wider one does not get it.
double most_allowed(const Manifest& manifest, const Magnitude& expected) {
    if (manifest.quantised())
        return QUANTISED_MULTIPLE * QUANTISED_NOISE * expected.root_mean_square;
    return MAX_MULTIPLE * most_noise(manifest.precision) * expected.largest;
}

double error_of(const std::vector<float>& actual, const std::vector<float>& expected, bool root_mean_square) {
    std::vector<double> differences(expected.begin(), expected.end());
    for (std::size_t i = 0; i < differences.size(); ++i)
        differences[i] -= actual[i];
    const Magnitude error = magnitude_of(differences);
    return root_mean_square ? error.root_mean_square : error.largest;
}

// Of how many rows the largest output is the expected one; of none that is not finite.
int same_first_of(const std::vector<float>& actual, const std::vector<float>& expected, std::size_t rows) {
    const auto each = static_cast<std::ptrdiff_t>(expected.size() / rows);
    int same = 0;
    for (std::size_t row = 0; row < rows; ++row) {
        const auto start = static_cast<std::ptrdiff_t>(row) * each;
        const auto found = actual.begin() + start, right = expected.begin() + start;
        const bool finite = std::all_of(found, found + each, [](float value) { return std::isfinite(value); });
        same += finite && std::max_element(found, found + each) - found == std::max_element(right, right + each) - right;
    }
    return same;
}

}  // namespace

std::vector<Verdict> replay_golden(const Bundle& bundle, Model& model) {
    const Manifest& manifest = bundle.manifest();
    const Planes inputs = bundle.golden_input();
    const std::size_t rows = manifest.golden_input.shape[0], each = size_of(inputs) / rows;
    Outputs actual;
    for (std::size_t row = 0; row < rows; ++row)
        for (const auto& [name, values] : model.run(one_of(inputs, row, each)))
            actual[name].insert(actual[name].end(), values.begin(), values.end());
    std::vector<Verdict> verdicts;
    for (const GoldenArray& array : manifest.golden_outputs) {
        const std::vector<float> expected = bundle.golden(array);
        const Diff& diff = given(manifest, array.name);
        const Magnitude magnitude = magnitude_of({expected.begin(), expected.end()});
        if (magnitude.largest > MAX_GOLDEN)
            throw Refused("the golden data of " + printable(array.name) +
                          " are too large, and no bound can grow with that; convert again");
        const double bound = std::min(diff.bound, most_allowed(manifest, magnitude)) + FLOAT32_HALF_ULP * magnitude.largest;
        const std::vector<float>& values = actual[array.name];
        verdicts.push_back({array.name, manifest.quantised(), error_of(values, expected, manifest.quantised()), bound,
                            static_cast<int>(rows), same_first_of(values, expected, rows)});
    }
    return verdicts;
}

}  // namespace edgevit
