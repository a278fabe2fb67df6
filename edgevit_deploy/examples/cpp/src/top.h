#pragma once

#include <vector>

namespace edgevit {

// The places of the largest values, the largest first; of equal ones the first.
std::vector<int> top_of(const std::vector<float>& values, int count = 5);

// Probabilities of logits.
std::vector<double> softmax(const std::vector<float>& logits);

bool all_finite(const std::vector<float>& values);

}  // namespace edgevit
