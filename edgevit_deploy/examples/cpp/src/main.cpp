// edgevit: load a bundle, show the top five of pictures, measure the latency, and replay the golden data.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <new>

#include "arguments.h"
#include "errors.h"
#include "picture.h"
#include "proof.h"
#include "quiet.h"
#include "report.h"
#include "text.h"
#include "top.h"

namespace {

using namespace edgevit;

PictureResult classify(const std::filesystem::path& path, const Bundle& bundle, const std::vector<std::string>& labels,
                       Model& model, Planes& input) {
    const Manifest& manifest = bundle.manifest();
    PictureResult result{printable(path.string()), {}};
    input = planes_of(resized_and_cropped(read_picture(path), manifest.preprocess), manifest.preprocess, manifest.takes);
    const std::vector<float> values = model.run(input)[manifest.outputs.front().name];
    if (!all_finite(values))
        return result;
    const std::vector<double> probabilities =
        manifest.returns_probabilities ? std::vector<double>(values.begin(), values.end()) : softmax(values);
    for (const int place : top_of(values))
        result.top.push_back({place, labels[place], probabilities[place]});
    return result;
}

// The median of some runs, after two others: the first ones of a runtime are slow.
double latency_ms(Model& model, const Planes& input, int repeat) {
    std::vector<double> times_ms;
    for (int i = 0; i < repeat + 2; ++i) {
        const auto start = std::chrono::steady_clock::now();
        model.run(input);
        times_ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    times_ms.erase(times_ms.begin(), times_ms.begin() + 2);
    std::sort(times_ms.begin(), times_ms.end());
    const std::size_t middle = times_ms.size() / 2;
    return times_ms.size() % 2 == 1 ? times_ms[middle] : (times_ms[middle - 1] + times_ms[middle]) / 2;
}

Report report_of(const Arguments& arguments) {
    const Bundle bundle(arguments.bundle);
    const Manifest& manifest = bundle.manifest();
    if (!arguments.back_end.empty() && arguments.back_end != manifest.target)
        throw Refused("the bundle is " + printable(manifest.target) + " and not " + printable(arguments.back_end) +
                      "; give a bundle of that target");
    const std::vector<std::string> labels = bundle.labels();
    const Quiet quiet;
    const std::unique_ptr<Model> model = load_model(bundle);
    Report report;
    report.title = printable(manifest.variant + ", " + manifest.target + " " + manifest.precision);
    report.runtime = printable(model->runtime());
    report.substitute = printable(model->substitute());
    report.unproven = unproven(manifest);
    // What was proven elsewhere of the file's own arithmetic says nothing of another one.
    report.verdict = report.unproven.empty() && !report.substitute.empty() ? "built, not run" : printable(verdict(manifest));
    Planes input;
    for (const std::filesystem::path& path : arguments.pictures)
        report.pictures.push_back(classify(path, bundle, labels, *model, input));
    if (arguments.golden)
        report.golden = replay_golden(bundle, *model);
    const std::vector<int> shape = manifest.input_shape();
    if (size_of(input) == 0)
        input = one_of(bundle.golden_input(), 0, static_cast<std::size_t>(shape[1]) * shape[2] * shape[3]);
    report.repeat = arguments.repeat;
    if (arguments.repeat > 0)
        report.latency_ms = latency_ms(*model, input, arguments.repeat);
    return report;
}

}  // namespace

int main(int count, char** words) {
    try {
        const Arguments arguments = parse_arguments({words + 1, words + count});
        if (arguments.help) {
            std::fputs(USAGE, stdout);
            return 0;
        }
        const Report report = report_of(arguments);
        std::fputs((arguments.json ? as_json(report) : as_text(report)).c_str(), stdout);
        return report.exit_code();
    } catch (const Refused& refused) {
        std::fprintf(stderr, "edgevit: %s\n", refused.what());
        return 2;
    } catch (const std::bad_alloc&) {
        std::fputs("edgevit: not enough memory; make the picture smaller, or convert a smaller model\n", stderr);
        return 2;
    } catch (const std::exception& error) {  // of a runtime
        std::fprintf(stderr, "edgevit: %s; copy the bundle again or convert again\n", printable(error.what()).c_str());
        return 2;
    }
}
