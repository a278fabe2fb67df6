#include "manifest.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

#include "fields.h"

namespace edgevit {
namespace {

constexpr int MAX_SIDE = 8192;
constexpr int MAX_CLASSES = 1'000'000;
constexpr int MAX_ROWS = 4096, MAX_DEPTH = 64;
constexpr std::int64_t MAX_FILE_BYTES = std::int64_t{1} << 34, MAX_PICTURES = std::int64_t{1} << 40;
constexpr std::size_t MAX_FILES = 4096, MAX_OUTPUTS = 64, MAX_DIFFS = 65536;

constexpr std::array<std::string_view, 3> FLOATING = {"fp32", "fp16", "bf16"};
constexpr std::array<std::string_view, 3> TAKES = {"tensor", "image", "uint8"};  // in the order of the type
constexpr std::array<std::string_view, 5> QUANTISED = {"int8", "int8-dynamic", "fp8", "w8", "palette8"};

Size size_of(const Json& object, const char* name) {
    const Json& sides = list_of(object, name, 2);
    if (sides.size() != 2)
        refuse(std::string(name) + " is no height and width");
    return {static_cast<int>(integer(sides[0], name, 1, MAX_SIDE)), static_cast<int>(integer(sides[1], name, 1, MAX_SIDE))};
}

template <std::size_t count>
std::array<double, count> numbers_of(const Json& object, const char* name) {
    const Json& values = list_of(object, name, count);
    if (values.size() != count)
        refuse(std::string(name) + " has not " + std::to_string(count) + " numbers");
    std::array<double, count> numbers{};
    for (std::size_t i = 0; i < count; ++i)
        numbers[i] = number(values[i], name);
    return numbers;
}

// A path of the manifest that may become one on this machine: inside the bundle, in plain form, and none that a system reads
// otherwise (a drive, a stream, a backslash).
std::string inside(const Json& object, const char* name) {
    const std::string path = text_of(object, name);
    const bool plain = !path.empty() && path.size() < 1000 && path.find_first_of(std::string("\\:\0", 3)) == std::string::npos;
    const std::string framed = "/" + path + "/";
    const bool climbs = framed.find("/../") != std::string::npos || framed.find("/./") != std::string::npos;
    if (!plain || path.front() == '/' || framed.find("//") != std::string::npos || climbs)
        throw Refused("manifest.json: the path '" + printable(path) + "' leaves the bundle; do not use this bundle");
    return path;
}

TensorSpec tensor(const Json& object) {
    TensorSpec spec{text_of(object, "name"), {}, text_of(object, "dtype")};
    for (const Json& axis : list_of(object, "shape", 4))
        spec.shape.push_back(axis.is_string() ? 0 : static_cast<int>(integer(axis, "an axis of " + spec.name, 1, MAX_CLASSES)));
    return spec;
}

GoldenArray golden_array(const Json& object) {
    GoldenArray array{text_of(object, "name"), inside(object, "path"), {}};
    for (const Json& axis : list_of(object, "shape", 4))
        array.shape.push_back(static_cast<int>(integer(axis, "an axis of " + array.path, 1, MAX_CLASSES)));
    return array;
}

Preprocess preprocess(const Json& object) {
    const std::string interpolation = text_of(object, "interpolation"), fit = text_of(object, "fit");
    if (interpolation != "bicubic" && interpolation != "bilinear")
        refuse("interpolation is neither bicubic nor bilinear");
    if (fit != "cover" && fit != "stretch")
        refuse("fit is neither cover nor stretch");
    if (text_of(object, "color_order") != "RGB")
        refuse("color_order is not RGB");
    Preprocess result{size_of(object, "resize"),
                      size_of(object, "crop"),
                      fit == "stretch",
                      interpolation == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear,
                      numbers_of<3>(object, "mean"),
                      numbers_of<3>(object, "std"),
                      numbers_of<2>(object, "value_range")};
    if (std::any_of(result.deviation.begin(), result.deviation.end(), [](double value) { return value <= 0; }))
        refuse("std is not above 0");
    return result;
}

// Schema 1 had one input and one output, whose golden data and form stood in other places.
Json from_schema_1(Json old) {
    const Json golden = field(old, "golden");
    const std::string input = text_of(list_of(old, "inputs", 1)[0], "name"),
                      output = text_of(list_of(old, "outputs", 1)[0], "name");
    old["golden"] = {
        {"input", {{"name", input}, {"path", field(golden, "input_path")}, {"shape", field(golden, "input_shape")}}},
        {"outputs", {{{"name", output}, {"path", field(golden, "output_path")}, {"shape", field(golden, "output_shape")}}}},
    };
    old["conversion"] = {{"takes", field(old, "input_form")}, {"returns", field(old, "output_form")}};
    Json& parity = old["parity"];
    if (parity.is_object() && parity.contains("diffs") && parity["diffs"].is_array())
        for (Json& diff : parity["diffs"])
            diff["output"] = output;
    return old;
}

// To copy or to print a document goes as deep as the document does, and a program's stack ends somewhere. No manifest is so deep.
bool refuse_depth(int depth, Json::parse_event_t, Json&) {
    if (depth > MAX_DEPTH)
        refuse("lists and objects lie more than " + std::to_string(MAX_DEPTH) + " deep");
    return true;
}

// A number or a short text as it is, of all else its kind.
std::string shown(const Json& value) {
    const bool is_short = value.is_number() || (value.is_string() && value.get_ref<const std::string&>().size() < 100);
    return is_short ? printable(value.dump()) : std::string("(") + value.type_name() + ")";
}

Json document_of(const std::string& text) {
    Json document = Json::parse(text, refuse_depth, /*allow_exceptions=*/false);
    if (!document.is_object() || !document.contains("schema_version"))
        throw Refused("manifest.json is no manifest of a bundle; convert again");
    const Json version = document["schema_version"];
    if (version == 1)
        return from_schema_1(std::move(document));
    if (version != 2)
        throw Refused("manifest.json: schema_version " + shown(version) +
                      " is unknown, this program reads 1 and 2; convert again");
    return document;
}

void read_parity(const Json& parity, Manifest& manifest) {
    manifest.parity_status = text_of(parity, "status");
    const Json& diffs = field(parity, "diffs");
    if (!diffs.is_array() || diffs.size() > MAX_DIFFS)
        refuse("parity.diffs is no list");
    for (const Json& diff : diffs) {
        const Json& tolerance = field(diff, "tolerance");
        const std::string measure = tolerance.is_object() ? tolerance.value("measure", Json("largest")).dump() : "";
        if (measure != "\"largest\"" && measure != "\"rms\"")
            refuse("tolerance.measure is neither largest nor rms");
        const double bound = number(field(tolerance, "atol"), "tolerance.atol");
        // Reports of earlier versions have no root of the mean square: what is not there is within no bound.
        const Json root_mean_square = diff.value("rms", Json());
        const double largest = number(field(diff, "max_abs"), "parity.diffs.max_abs");
        const double error = measure == "\"largest\""        ? largest
                             : root_mean_square.is_null() ? std::numeric_limits<double>::infinity()
                                                          : number(root_mean_square, "parity.diffs.rms");
        manifest.diffs.push_back({text_of(diff, "output"), size_of(diff, "image_size"), bound, error});
    }
}

Decisions decisions_of(const Json& object) {
    const std::int64_t pictures = integer(field(object, "pictures"), "decisions.pictures", 0, MAX_PICTURES);
    const std::int64_t agreeing = integer(field(object, "agreeing"), "decisions.agreeing", 0, pictures);
    const double least = number(field(object, "min_agreement"), "decisions.min_agreement");
    if (least <= 0 || least >= 1)
        refuse("decisions.min_agreement is not between 0 and 1");
    const std::int64_t taken = pictures + integer(object.value("broken", Json(0)), "decisions.broken", 0, MAX_PICTURES);
    const Json sample = object.value("sample", Json());
    const std::int64_t of =
        sample.is_null() ? taken : integer(field(sample, "of"), "decisions.sample.of", taken, MAX_PICTURES);
    return {pictures, agreeing, least, taken < of};
}

void check_agreement(const Manifest& manifest) {
    const std::vector<int>& in = manifest.input.shape;
    const std::string& in_type = manifest.input.dtype;
    const Size image = manifest.image_size, crop = manifest.preprocess.crop;
    if (in.size() != 4 || in[0] > 1 || in[1] != 3)
        refuse("the input is not one picture of three planes at a time; convert with --batch 1");
    if ((in[2] != 0 && in[2] != crop.height) || (in[3] != 0 && in[3] != crop.width) || !(image == crop))
        refuse("the input, preprocess.crop and model.image_size are of different sizes");
    if (in_type != (manifest.takes == Takes::uint8 ? "uint8" : "float32"))
        refuse("the input is of another type than conversion.takes says");
    const std::vector<int>& golden = manifest.golden_input.shape;
    if (golden.size() != 4 || golden[0] > MAX_ROWS || golden[1] != 3 || golden[2] != image.height || golden[3] != image.width)
        refuse("the golden input is not of the model's size");
    if (manifest.golden_input.name != manifest.input.name || manifest.golden_outputs.size() != manifest.outputs.size())
        refuse("golden data and the model have other inputs or outputs");
    for (std::size_t i = 0; i < manifest.outputs.size(); ++i) {
        const TensorSpec& output = manifest.outputs[i];
        const GoldenArray& array = manifest.golden_outputs[i];
        if (output.dtype != "float32")
            refuse("output " + output.name + " is not float32");
        if (output.shape.size() != 2 || output.shape[0] > 1 || output.shape[1] != manifest.classes)
            refuse("output " + output.name + " has not a value for each of " + std::to_string(manifest.classes) + " classes");
        if (array.name != output.name || array.shape != std::vector<int>{golden[0], manifest.classes})
            refuse("the golden data of " + output.name + " are of another shape");
    }
}

}  // namespace

std::uint64_t GoldenArray::values() const {
    std::uint64_t count = 1;
    for (const int axis : shape)
        count *= static_cast<std::uint64_t>(axis);
    return count;
}

std::vector<int> Manifest::input_shape() const { return {1, 3, preprocess.crop.height, preprocess.crop.width}; }

bool Manifest::quantised() const {
    return std::find(QUANTISED.begin(), QUANTISED.end(), precision) != QUANTISED.end();
}

Manifest parse_manifest(const std::string& text) {
    const Json document = document_of(text);
    const Json &model = field(document, "model"), &labels = field(document, "labels"), &golden = field(document, "golden");
    const Json& conversion = field(document, "conversion");
    const std::string takes = text_of(conversion, "takes"), returns = text_of(conversion, "returns");
    const auto kind = std::find(TAKES.begin(), TAKES.end(), takes);
    if (kind == TAKES.end())
        refuse("conversion.takes is none of tensor, image and uint8");
    if (returns != "logits" && returns != "probabilities")
        refuse("it returns " + returns + " and no classes");
    Manifest manifest{};
    manifest.target = text_of(document, "target");
    manifest.precision = text_of(document, "precision");
    if (!manifest.quantised() && std::find(FLOATING.begin(), FLOATING.end(), manifest.precision) == FLOATING.end())
        refuse("the precision " + manifest.precision + " is unknown to this program");
    manifest.path = inside(document, "path");
    for (const Json& file : list_of(document, "files", MAX_FILES)) {
        const auto bytes = static_cast<std::uint64_t>(integer(field(file, "bytes"), "files.bytes", 0, MAX_FILE_BYTES));
        manifest.files.push_back({inside(file, "path"), text_of(file, "sha256"), bytes});
    }
    manifest.variant = text_of(model, "variant");
    manifest.classes = static_cast<int>(integer(field(model, "num_classes"), "model.num_classes", 1, MAX_CLASSES));
    manifest.image_size = size_of(model, "image_size");
    manifest.input = tensor(list_of(document, "inputs", 1)[0]);
    for (const Json& output : list_of(document, "outputs", MAX_OUTPUTS))
        manifest.outputs.push_back(tensor(output));
    manifest.preprocess = preprocess(field(document, "preprocess"));
    manifest.labels_path = inside(labels, "path");
    if (integer(field(labels, "count"), "labels.count", 1, MAX_CLASSES) != manifest.classes)
        refuse("labels.count is not the number of classes");
    manifest.golden_input = golden_array(field(golden, "input"));
    for (const Json& output : list_of(golden, "outputs", MAX_OUTPUTS))
        manifest.golden_outputs.push_back(golden_array(output));
    manifest.takes = static_cast<Takes>(kind - TAKES.begin());
    manifest.returns_probabilities = returns == "probabilities";
    read_parity(field(document, "parity"), manifest);
    if (const Json decisions = document.value("decisions", Json()); !decisions.is_null())
        manifest.decisions = decisions_of(decisions);
    check_agreement(manifest);
    return manifest;
}

}  // namespace edgevit
