#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace edgevit {

constexpr char USAGE[] =
    "usage: edgevit BUNDLE [PICTURE...] [--golden] [--repeat N] [--backend NAME] [--json]\n"
    "  BUNDLE      a folder that a conversion wrote\n"
    "  PICTURE     JPEG or PNG files, of which the five most probable classes are shown\n"
    "  --golden    replay the bundle's golden data, and say whether its numbers are right on this machine\n"
    "  --repeat N  measure the latency over N runs [10]; 0 measures nothing\n"
    "  --backend   refuse a bundle of another target than NAME\n"
    "  --json      one JSON document on stdout in place of the text\n"
    "exit codes: 0 good, 1 the golden data were missed or an output is not finite, 2 wrong use or a bundle not believed\n";

// What was typed.
struct Arguments {
    std::filesystem::path bundle;
    std::vector<std::filesystem::path> pictures;
    bool golden = false;
    int repeat = 10;
    std::string back_end;
    bool json = false;
    bool help = false;
};

// Throws Refused.
Arguments parse_arguments(const std::vector<std::string>& words);

}  // namespace edgevit
