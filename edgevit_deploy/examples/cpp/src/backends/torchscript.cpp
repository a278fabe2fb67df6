// The lite interpreter, which Android's LiteModuleLoader and iOS call as well.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/mobile/import.h>
#include <torch/csrc/jit/mobile/module.h>
#include <torch/version.h>

#include "../model.h"

namespace edgevit {
namespace {

class TorchScriptModel final : public Model {
public:
    explicit TorchScriptModel(const Bundle& bundle)
        : shape_(bundle.manifest().input_shape_as<std::vector<std::int64_t>>()), output_(bundle.manifest().outputs.front().name) {
        const std::string path = bundle.model().string();
        // [snippet: load]
        module_ = torch::jit::_load_for_mobile(path);
        // [end]
    }

    Outputs run(const Planes& input) override {
        return std::visit([this](const auto& values) { return run_on(values); }, input);
    }

    std::string runtime() const override { return "PyTorch's lite interpreter " TORCH_VERSION; }

private:
    // T is float, or std::uint8_t.
    template <typename T>
    Outputs run_on(std::vector<T> pixels) {
        // [snippet: run]
        const c10::InferenceMode guard;
        const at::Tensor result = module_.forward({at::from_blob(pixels.data(), shape_, c10::CppTypeToScalarType<T>::value)}).toTensor().contiguous();
        // [end]
        return {{output_, {result.data_ptr<float>(), result.data_ptr<float>() + result.numel()}}};
    }

    torch::jit::mobile::Module module_;
    std::vector<std::int64_t> shape_;
    std::string output_;
};

}  // namespace

std::unique_ptr<Model> load_torchscript(const Bundle& bundle) { return std::make_unique<TorchScriptModel>(bundle); }

}  // namespace edgevit
