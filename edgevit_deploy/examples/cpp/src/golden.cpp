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

const Diff& given(const Manifest& manifest, const std::string& output) {
    for (const Diff& diff : manifest.diffs)
        if (diff.output == output && diff.image_size == manifest.image_size)
            return diff;
    throw Refused("manifest.json: no bound for the golden data of " + printable(output) +
                  ": nothing was run; convert again where it runs");
}

double error_of(const std::vector<float>& actual, const std::vector<float>& expected, bool root_mean_square) {
    double largest = 0, squares = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const double difference = std::fabs(static_cast<double>(actual[i]) - expected[i]);
        if (!std::isfinite(difference))
            return std::numeric_limits<double>::infinity();
        largest = std::max(largest, difference);
        squares += difference * difference;
    }
    return root_mean_square ? std::sqrt(squares / static_cast<double>(expected.size())) : largest;
}

}  // namespace

std::vector<Verdict> replay_golden(const Bundle& bundle, Model& model) {
    const Manifest& manifest = bundle.manifest();
    const std::vector<float> inputs = bundle.golden(manifest.golden_input);
    const std::size_t rows = manifest.golden_input.shape[0], each = inputs.size() / rows;
    Outputs actual;
    for (std::size_t row = 0; row < rows; ++row)
        for (const auto& [name, values] : model.run({inputs.begin() + row * each, inputs.begin() + (row + 1) * each}))
            actual[name].insert(actual[name].end(), values.begin(), values.end());
    std::vector<Verdict> verdicts;
    for (const GoldenArray& array : manifest.golden_outputs) {
        const std::vector<float> expected = bundle.golden(array);
        const Diff& diff = given(manifest, array.name);
        const double largest = std::fabs(*std::max_element(
            expected.begin(), expected.end(), [](float left, float right) { return std::fabs(left) < std::fabs(right); }));
        const std::vector<float>& found = actual[array.name];
        const double error = found.size() == expected.size() ? error_of(found, expected, diff.root_mean_square)
                                                             : std::numeric_limits<double>::infinity();
        verdicts.push_back({array.name, diff.root_mean_square, error, diff.bound + FLOAT32_HALF_ULP * largest});
    }
    return verdicts;
}

}  // namespace edgevit
