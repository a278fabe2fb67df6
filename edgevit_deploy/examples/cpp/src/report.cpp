#include "report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "fields.h"

namespace edgevit {
namespace {

template <typename... Values>
std::string formatted(const char* format, Values... values) {
    char line[200];
    std::snprintf(line, sizeof line, format, values...);
    return line;
}

std::string figure(double value) { return std::isfinite(value) ? formatted("%.3g", value) : "not finite"; }

std::string line_of(const Verdict& verdict) {
    const char* measure = verdict.root_mean_square ? "root mean square of the errors" : "largest error";
    return "golden " + printable(verdict.output) + ": " + measure + " " + figure(verdict.error) + ", bound " +
           figure(verdict.bound) + ", " + (verdict.passed() ? "passed" : "FAILED");
}

}  // namespace

bool Report::good() const {
    const bool decided =
        std::none_of(pictures.begin(), pictures.end(), [](const PictureResult& picture) { return picture.top.empty(); });
    return decided && std::all_of(golden.begin(), golden.end(), [](const Verdict& verdict) { return verdict.passed(); });
}

int Report::exit_code() const { return !good() ? 1 : substitute.empty() ? 0 : 3; }

std::string as_text(const Report& report) {
    std::string text = report.title + ", by " + report.runtime + "\n";
    const std::string& proof = report.unproven.empty() ? report.verdict : report.unproven;
    for (const std::string& banner : {proof, report.substitute})
        if (!banner.empty() && banner != "passed")
            text += "*** " + banner + " ***\n";
    for (const PictureResult& picture : report.pictures) {
        text += picture.path + "\n";
        for (const Guess& guess : picture.top)
            text += formatted("  %5.1f %%  ", 100 * guess.probability) + guess.label + "\n";
        if (picture.top.empty())
            text += "  its outputs are not finite: FAILED\n";
    }
    if (report.latency_ms)
        text += formatted("latency: %.2f ms, the median of %d runs after 2 others\n", *report.latency_ms, report.repeat);
    for (const Verdict& verdict : report.golden)
        text += line_of(verdict) + "\n";
    return text;
}

std::string as_json(const Report& report) {
    nlohmann::ordered_json document = {{"title", report.title},           {"runtime", report.runtime},
                                       {"verdict", report.verdict},       {"unproven", report.unproven},
                                       {"substitute", report.substitute}, {"pictures", Json::array()},
                                       {"latency_ms", nullptr},           {"golden", Json::array()},
                                       {"good", report.good()}};
    for (const PictureResult& picture : report.pictures) {
        nlohmann::ordered_json top = Json::array();
        for (const Guess& guess : picture.top)
            top.push_back({{"class", guess.place}, {"label", guess.label}, {"probability", guess.probability}});
        document["pictures"].push_back({{"path", picture.path}, {"top", top}});
    }
    if (report.latency_ms)
        document["latency_ms"] = *report.latency_ms;
    for (const Verdict& verdict : report.golden)  // JSON has no infinity: null
        document["golden"].push_back({{"output", printable(verdict.output)},
                                      {"measure", verdict.root_mean_square ? "rms" : "largest"},
                                      {"error", verdict.error},
                                      {"bound", verdict.bound},
                                      {"rows", verdict.rows},
                                      {"same_first", verdict.same_first},
                                      {"passed", verdict.passed()}});
    return document.dump(2) + "\n";
}

}  // namespace edgevit
