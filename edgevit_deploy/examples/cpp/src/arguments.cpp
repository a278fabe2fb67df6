#include "arguments.h"

#include <algorithm>

#include "errors.h"
#include "text.h"

namespace edgevit {
namespace {

constexpr int MAX_REPEAT = 100000;

int count_of(const std::string& word) {
    const bool digits =
        !word.empty() && word.size() <= 6 && std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
    const int count = digits ? std::stoi(word) : -1;
    if (count < 0 || count > MAX_REPEAT)
        throw Refused("--repeat " + printable(word) + ": expected a number from 0 to " + std::to_string(MAX_REPEAT));
    return count;
}

}  // namespace

Arguments parse_arguments(const std::vector<std::string>& words) {
    Arguments arguments;
    std::vector<std::filesystem::path> paths;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        const auto value = [&]() -> const std::string& {
            if (i + 1 == words.size())
                throw Refused(word + " wants a value; see edgevit --help");
            return words[++i];
        };
        if (word == "--golden")
            arguments.golden = true;
        else if (word == "--json")
            arguments.json = true;
        else if (word == "--help" || word == "-h")
            arguments.help = true;
        else if (word == "--repeat")
            arguments.repeat = count_of(value());
        else if (word == "--backend")
            arguments.back_end = value();
        else if (word.size() > 1 && word[0] == '-')
            throw Refused(printable(word) + " is no flag of edgevit; see edgevit --help");
        else
            paths.emplace_back(word);
    }
    if (arguments.help)
        return arguments;
    if (paths.empty())
        throw Refused("no bundle given; see edgevit --help");
    arguments.bundle = paths.front();
    arguments.pictures.assign(paths.begin() + 1, paths.end());
    if (arguments.pictures.empty() && !arguments.golden)
        throw Refused("nothing to do: give a picture, or --golden; see edgevit --help");
    return arguments;
}

}  // namespace edgevit
