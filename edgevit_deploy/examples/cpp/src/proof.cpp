#include "proof.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "text.h"

namespace edgevit {
namespace {

// The 95 % interval (Wilson) of the share of equal decisions; all there is where none was judged.
std::pair<double, double> interval(const Decisions& decisions) {
    if (decisions.pictures == 0)
        return {0, 1};
    constexpr double z = 1.959963984540054;
    const auto pictures = static_cast<double>(decisions.pictures);
    const double share = static_cast<double>(decisions.agreeing) / pictures, spread = z * z / pictures;
    const double middle = (share + spread / 2) / (1 + spread);
    const double half = std::sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread);
    return {decisions.agreeing == 0 ? 0 : std::max(0.0, middle - half),
            decisions.agreeing == decisions.pictures ? 1 : std::min(1.0, middle + half)};
}

bool shown(const Decisions& decisions) { return interval(decisions).first >= decisions.min_agreement; }

// Pictures that had to be drawn may be too few to show what was asked for; then they must not rule it out.
bool failed(const Decisions& decisions) {
    return decisions.drawn ? interval(decisions).second < decisions.min_agreement : !shown(decisions);
}

bool comparisons_fail(const Manifest& manifest) {
    const bool all_within = std::all_of(manifest.diffs.begin(), manifest.diffs.end(),
                                        [](const Diff& diff) { return diff.error <= diff.bound; });
    return !all_within || (manifest.parity_status == "passed" && manifest.diffs.empty());
}

}  // namespace

std::string verdict(const Manifest& manifest) {
    if (comparisons_fail(manifest) || (manifest.decisions && failed(*manifest.decisions)))
        return "failed";
    if (manifest.parity_status != "passed" || !manifest.quantised())
        return manifest.parity_status;
    if (!manifest.decisions)
        return "passed (arithmetic), decisions not judged";
    return shown(*manifest.decisions) ? "passed" : "passed (arithmetic), decisions judged on a sample";
}

std::string unproven(const Manifest& manifest) {
    if (comparisons_fail(manifest))
        return "UNPROVEN: the file's own comparisons are not within their bounds, or there are none";
    if (manifest.parity_status != "passed")
        return "UNPROVEN: the file's parity is '" + printable(manifest.parity_status) + "'";
    if (manifest.decisions && failed(*manifest.decisions))
        return "UNPROVEN: too many of the file's decisions are not the network's";
    return "";
}

}  // namespace edgevit
