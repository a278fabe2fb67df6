#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"

namespace edgevit {

using Outputs = std::map<std::string, std::vector<float>>;

// A model file that a runtime has loaded.
class Model {
public:
    virtual ~Model() = default;

    // Run one picture: the values of the manifest's input, (1, 3, height, width), in its type. Returns each output by its name.
    virtual Outputs run(const Planes& input) = 0;

    // The runtime's name and version.
    virtual std::string runtime() const = 0;

    // What was computed in place of what the file asks for, as a sentence; nothing where it was done as asked.
    virtual std::string substitute() const { return ""; }
};

// A runtime that this program was built with.
struct BackEnd {
    std::string target;
    std::unique_ptr<Model> (*load)(const Bundle& bundle);
};

const std::vector<BackEnd>& back_ends();

// Load a bundle's file. Throws Refused where this program has no runtime for it, or the runtime does not load it.
std::unique_ptr<Model> load_model(const Bundle& bundle);

}  // namespace edgevit
