#include "model.h"

#include <exception>
#include <utility>

#include "errors.h"
#include "text.h"

namespace edgevit {
namespace {

// A runtime's model, held to the manifest: a runtime may read an input that is too short beyond its end, and return whatever a
// file has.
class CheckedModel final : public Model {
public:
    CheckedModel(std::unique_ptr<Model> model, const Manifest& manifest)
        : model_(std::move(model)), classes_(static_cast<std::size_t>(manifest.classes)) {
        for (const int axis : manifest.input_shape())
            values_ *= static_cast<std::uint64_t>(axis);
        for (const TensorSpec& output : manifest.outputs)
            outputs_.push_back(output.name);
    }

    Outputs run(const Planes& input) override {
        if (size_of(input) != values_)
            throw Refused("its input has " + std::to_string(size_of(input)) + " values and not " + std::to_string(values_) +
                          "; convert again");
        Outputs results = model_->run(input);
        for (const std::string& name : outputs_) {
            const auto found = results.find(name);
            if (found == results.end())
                throw Refused("it returned no output " + printable(name) + "; convert again");
            if (found->second.size() != classes_)
                throw Refused("it returned " + std::to_string(found->second.size()) + " values for " + std::to_string(classes_) +
                              " classes; convert again");
        }
        return results;
    }

    std::string runtime() const override { return model_->runtime(); }
    std::string substitute() const override { return model_->substitute(); }

private:
    std::unique_ptr<Model> model_;
    std::size_t classes_;
    std::uint64_t values_ = 1;
    std::vector<std::string> outputs_;
};

}  // namespace

#define EDGEVIT_BACK_END(target) std::unique_ptr<Model> load_##target(const Bundle& bundle);
#include "back_ends.inc"
#undef EDGEVIT_BACK_END

const std::vector<BackEnd>& back_ends() {
    static const std::vector<BackEnd> all = {
#define EDGEVIT_BACK_END(target) {#target, load_##target},
#include "back_ends.inc"
#undef EDGEVIT_BACK_END
    };
    return all;
}

std::unique_ptr<Model> load_model(const Bundle& bundle) {
    const std::string target = bundle.manifest().target;
    std::string known;
    for (const BackEnd& back_end : back_ends()) {
        known += (known.empty() ? "" : ", ") + back_end.target;
        if (back_end.target != target)
            continue;
        try {
            return std::make_unique<CheckedModel>(back_end.load(bundle), bundle.manifest());
        } catch (const Refused&) {
            throw;
        } catch (const std::exception& error) {  // of the runtime, which knows best what it does not like
            throw Refused("the runtime of " + target + " does not load it: " + printable(error.what()) + "; convert again");
        }
    }
    throw Refused("the bundle is " + printable(target) + ", and this program was built for " +
                  (known.empty() ? "no runtime" : known) + "; see the README for how to build it for another");
}

}  // namespace edgevit
