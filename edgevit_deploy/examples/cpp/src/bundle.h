#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "manifest.h"

namespace edgevit {

// A bundle's folder whose manifest has been read and whose files that are used here (the model's, the labels, the golden data)
// are those that it records, by size and SHA-256.
class Bundle {
public:
    // Throws Refused.
    explicit Bundle(std::filesystem::path folder);

    const Manifest& manifest() const { return manifest_; }

    // The model file, or the folder of a model of several files.
    std::filesystem::path model() const { return folder_ / manifest_.path; }

    // A file of a model that is a folder. Throws Refused where the manifest does not record it.
    std::filesystem::path model_file(const std::string& name) const;

    // The class names, one for each class, ready for a screen.
    std::vector<std::string> labels() const;

    // Golden data as they were checked.
    Planes golden_input() const;
    std::vector<float> golden(const GoldenArray& output) const;

private:
    const FileRecord& record_of(const std::string& path) const;
    void check_size(const GoldenArray& array, std::uint64_t each) const;
    void check(const FileRecord& record) const;
    std::string read(const std::string& path) const;

    std::filesystem::path folder_;
    Manifest manifest_;
};

}  // namespace edgevit
