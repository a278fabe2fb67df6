#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/platform/platform.h>

#include <cstdio>
#include <stdexcept>

#include "../model.h"

namespace edgevit {
namespace {

using executorch::runtime::PalImpl;

// ExecuTorch tells on stderr what it tries to find out about the processor; of that and of its warnings nothing is shown.
void log_errors(et_timestamp_t, et_pal_log_level_t level, const char*, const char*, std::size_t, const char* message,
                std::size_t) {
    if (level == kError || level == kFatal)
        std::fprintf(stderr, "ExecuTorch: %s\n", message);
}

const bool quiet = executorch::runtime::register_pal(PalImpl::create(log_errors, __FILE__));

class ExecuTorchModel final : public Model {
public:
    explicit ExecuTorchModel(const Bundle& bundle) : shape_(bundle.manifest().input_shape()) {
        const std::string path = bundle.model().string();
        // [snippet: load]
        module_ = std::make_unique<executorch::extension::Module>(path);
        if (module_->load_forward() != executorch::runtime::Error::Ok)
            throw std::runtime_error("ExecuTorch does not load it");
        // [end]
        for (const TensorSpec& output : bundle.manifest().outputs)
            outputs_.push_back(output.name);
    }

    Outputs run(const std::vector<float>& input) override {
        std::vector<float> pixels = input;
        // [snippet: run]
        const auto tensor = executorch::extension::from_blob(pixels.data(), {shape_.begin(), shape_.end()});
        const auto result = module_->forward(tensor);
        if (!result.ok())
            throw std::runtime_error("ExecuTorch does not run it");
        // [end]
        Outputs results;
        for (std::size_t i = 0; i < outputs_.size() && i < result->size(); ++i) {
            const auto& values = result->at(i).toTensor();
            results[outputs_[i]].assign(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
        }
        return results;
    }

    std::string runtime() const override { return "ExecuTorch, XNNPACK"; }

private:
    std::unique_ptr<executorch::extension::Module> module_;
    std::vector<int> shape_;
    std::vector<std::string> outputs_;
};

}  // namespace

std::unique_ptr<Model> load_executorch(const Bundle& bundle) { return std::make_unique<ExecuTorchModel>(bundle); }

}  // namespace edgevit
