#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "preprocess.h"

namespace edgevit {

// One file of a bundle: its path inside, with slashes.
struct FileRecord {
    std::string path;
    std::string sha256;
    std::uint64_t bytes;
};

// An input or output. An axis that is free (a name in the manifest) is 0.
struct TensorSpec {
    std::string name;
    std::vector<int> shape;
    std::string dtype;
};

// Golden data of an input or output.
struct GoldenArray {
    std::string name;
    std::string path;
    std::vector<int> shape;

    std::uint64_t values() const;
};

// What was found when a file was compared with the network: of one output at one image size.
struct Diff {
    std::string output;
    Size image_size;
    double bound;
    double error;  // in the measure of the bound
};

// On how many pictures a file and its network name the same first class.
struct Decisions {
    std::int64_t pictures;
    std::int64_t agreeing;
    double min_agreement;
    bool drawn;  // the folder has pictures beyond these, and beyond those that could not be decoded
};

// What of manifest.json (schema version 2 or 1) this program uses, checked: nothing in it is larger than any bundle has, and
// what must agree agrees.
struct Manifest {
    std::string target;
    std::string precision;
    std::string path;
    std::vector<FileRecord> files;
    std::string variant;
    int classes;
    Size image_size;
    TensorSpec input;
    std::vector<TensorSpec> outputs;
    Preprocess preprocess;
    std::string labels_path;
    GoldenArray golden_input;
    std::vector<GoldenArray> golden_outputs;
    Takes takes;
    bool returns_probabilities;
    std::string parity_status;
    std::vector<Diff> diffs;
    std::optional<Decisions> decisions;  // none where nobody judged them

    // Whether weights or activations have eight bits.
    bool quantised() const;

    // (1, 3, height, width) of a run: what is free is one picture of the size that the preprocessing gives.
    std::vector<int> input_shape() const;

    // The same in the type of list that a runtime wants.
    template <typename Axes>
    Axes input_shape_as() const {
        const std::vector<int> shape = input_shape();
        return Axes(shape.begin(), shape.end());
    }
};

// Throws Refused.
Manifest parse_manifest(const std::string& text);

}  // namespace edgevit
