#include "top.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace edgevit {

std::vector<int> top_of(const std::vector<float>& values, int count) {
    std::vector<int> places(values.size());
    std::iota(places.begin(), places.end(), 0);
    const auto middle = places.begin() + std::min<std::size_t>(count, places.size());
    std::partial_sort(places.begin(), middle, places.end(), [&](int left, int right) {
        return values[left] != values[right] ? values[left] > values[right] : left < right;
    });
    places.erase(middle, places.end());
    return places;
}

std::vector<double> softmax(const std::vector<float>& logits) {
    const double largest = *std::max_element(logits.begin(), logits.end());
    std::vector<double> shares;
    for (const float logit : logits)
        shares.push_back(std::exp(logit - largest));
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (double& share : shares)
        share /= sum;
    return shares;
}

bool all_finite(const std::vector<float>& values) {
    return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

}  // namespace edgevit
