#include "bundle.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

#include "errors.h"
#include "sha256.h"
#include "text.h"

namespace edgevit {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t MAX_MANIFEST_BYTES = 4 << 20;
constexpr std::uint64_t MAX_LABELS_BYTES = 64 << 20;

// Throws Refused for what is no file, or is reached by a link, which could lead out of the bundle.
std::uintmax_t size_of_file(const fs::path& folder, const std::string& inside) {
    const std::string shown = printable((folder / inside).string());
    std::error_code error;
    fs::path path = folder;
    for (const fs::path& part : fs::path(inside)) {
        path /= part;
        if (fs::is_symlink(fs::symlink_status(path, error)))
            throw Refused(shown + ": a link, which could lead out of the bundle; do not use this bundle");
    }
    if (!fs::is_regular_file(path, error))
        throw Refused(shown + " is missing, or no file; copy the whole folder again");
    return fs::file_size(path, error);
}

std::string read_whole(const fs::path& path, std::uintmax_t size) {
    std::string data;
    if (size > data.max_size())
        throw Refused(printable(path.string()) + " is larger than this machine's memory can be; convert a smaller model");
    data.resize(static_cast<std::size_t>(size));
    std::ifstream file(path, std::ios::binary);
    if (!file.read(data.data(), static_cast<std::streamsize>(size)))
        throw Refused(printable(path.string()) + " cannot be read; copy the whole folder again");
    return data;
}

std::string read_manifest_of(const fs::path& folder) {
    std::error_code error;
    if (!fs::is_regular_file(folder / "manifest.json", error))
        throw Refused(printable(folder.string()) + ": no bundle (no manifest.json in it); give a folder that a conversion wrote");
    const std::uintmax_t size = size_of_file(folder, "manifest.json");
    if (size > MAX_MANIFEST_BYTES)
        throw Refused("manifest.json has more than 4 MB; convert again");
    return read_whole(folder / "manifest.json", size);
}

// What file managers of macOS and Windows put into every folder.
bool is_clutter(const std::string& name) {
    return name.rfind("._", 0) == 0 || name == ".DS_Store" || name == "Thumbs.db" || name == "desktop.ini";
}

// The path inside of everything in a bundle but folders, its manifest, and clutter. A link to a folder is not followed.
std::vector<std::string> files_in(const fs::path& folder) {
    std::vector<std::string> found;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
        const std::string path = entry.path().lexically_relative(folder).generic_string();
        const bool is_folder = entry.is_directory() && !entry.is_symlink();
        if (!is_folder && path != "manifest.json" && !is_clutter(entry.path().filename().string()))
            found.push_back(path);
    }
    std::sort(found.begin(), found.end());
    return found;
}

}  // namespace

Bundle::Bundle(fs::path folder) : folder_(std::move(folder)), manifest_(parse_manifest(read_manifest_of(folder_))) {
    const auto of_model = [&](const FileRecord& record) {
        return record.path == manifest_.path || record.path.rfind(manifest_.path + "/", 0) == 0;
    };
    if (std::none_of(manifest_.files.begin(), manifest_.files.end(), of_model))
        throw Refused("manifest.json: " + printable(manifest_.path) + " is named but not among its files; convert again");
    record_of(manifest_.labels_path);
    check_size(manifest_.golden_input, manifest_.takes == Takes::uint8 ? 1 : 4);
    for (const GoldenArray& array : manifest_.golden_outputs)
        check_size(array, 4);
    for (const FileRecord& record : manifest_.files)
        check(record);
    // A model file may name others beside it, which its runtime opens by itself.
    for (const std::string& path : files_in(folder_)) {
        const auto is_it = [&](const FileRecord& record) { return record.path == path; };
        if (std::none_of(manifest_.files.begin(), manifest_.files.end(), is_it))
            throw Refused(printable((folder_ / path).string()) + " is not in the manifest; remove it or convert again");
    }
    labels();  // refused now rather than after the first picture
}

const FileRecord& Bundle::record_of(const std::string& path) const {
    const auto is_it = [&](const FileRecord& record) { return record.path == path; };
    const auto found = std::find_if(manifest_.files.begin(), manifest_.files.end(), is_it);
    if (found == manifest_.files.end())
        throw Refused("manifest.json: " + printable(path) + " is named but not among its files; convert again");
    if (std::find_if(found + 1, manifest_.files.end(), is_it) != manifest_.files.end())
        throw Refused("manifest.json: " + printable(path) + " is recorded twice; convert again");
    return *found;
}

void Bundle::check_size(const GoldenArray& array, std::uint64_t each) const {
    if (record_of(array.path).bytes != each * array.values())
        throw Refused("manifest.json: " + printable(array.path) + " has not the bytes of its shape; convert again");
}

void Bundle::check(const FileRecord& record) const {
    const std::string shown = printable((folder_ / record.path).string());
    if (size_of_file(folder_, record.path) != record.bytes)  // said before a byte is read
        throw Refused(shown + ": changed since it was written (another size); copy it again or convert again");
    std::ifstream file(folder_ / record.path, std::ios::binary);
    Sha256 hash;
    std::vector<char> part(1 << 20);
    while (file.read(part.data(), static_cast<std::streamsize>(part.size())) || file.gcount() > 0)
        hash.add(part.data(), static_cast<std::size_t>(file.gcount()));
    if (hash.hex() != record.sha256)
        throw Refused(shown + ": changed since it was written (another sha256); copy it again or convert again");
}

std::string Bundle::read(const std::string& path) const { return read_whole(folder_ / path, record_of(path).bytes); }

fs::path Bundle::model_file(const std::string& name) const {
    record_of(manifest_.path + "/" + name);
    return model() / name;
}

std::vector<std::string> Bundle::labels() const {
    const std::string shown = printable((folder_ / manifest_.labels_path).string());
    if (record_of(manifest_.labels_path).bytes > MAX_LABELS_BYTES)
        throw Refused(shown + " has more than 64 MB; convert again");
    const std::string text = read(manifest_.labels_path);
    if (!is_utf8(text))
        throw Refused(shown + ": not UTF-8 text; convert again");
    std::vector<std::string> labels;
    for (std::size_t start = 0; start < text.size();) {
        const std::size_t end = std::min(text.find('\n', start), text.size());
        labels.push_back(printable(std::string_view(text).substr(start, end - start)));
        start = end + 1;
    }
    if (labels.size() != static_cast<std::size_t>(manifest_.classes))
        throw Refused(shown + ": " + std::to_string(labels.size()) + " labels for " + std::to_string(manifest_.classes) +
                      " classes; convert again");
    return labels;
}

Planes Bundle::golden_input() const {
    if (manifest_.takes != Takes::uint8)
        return golden(manifest_.golden_input);
    const std::string data = read(manifest_.golden_input.path);
    return std::vector<std::uint8_t>(data.begin(), data.end());
}

std::vector<float> Bundle::golden(const GoldenArray& array) const {
    const std::string data = read(array.path);
    std::vector<float> values(data.size() / 4);
    for (std::size_t i = 0; i < values.size(); ++i) {  // little-endian in the file, whatever the machine is
        std::uint32_t bits = 0;
        for (int byte = 3; byte >= 0; --byte)
            bits = bits << 8 | static_cast<std::uint8_t>(data[4 * i + byte]);
        std::memcpy(&values[i], &bits, 4);
        if (!std::isfinite(values[i]))
            throw Refused(printable(array.path) + " holds numbers that are not finite, which prove nothing; convert again");
    }
    return values;
}

}  // namespace edgevit
