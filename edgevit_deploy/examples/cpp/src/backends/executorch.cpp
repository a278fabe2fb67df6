#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/platform/platform.h>

#include <stdexcept>
#include <string>

#include "../model.h"

namespace edgevit {
namespace {

using executorch::runtime::PalImpl;

// ExecuTorch tells on stderr what it tries to find out about the processor, and names in a file as they are. Nothing of that is
// shown: the program says in its one line that a file does not load or run.
void say_nothing(et_timestamp_t, et_pal_log_level_t, const char*, const char*, std::size_t, const char*, std::size_t) {}

const bool quiet = executorch::runtime::register_pal(PalImpl::create(say_nothing, __FILE__));

// The flatbuffer's own offsets are verified before anything follows them; to load a method asks for less.
void verify(const std::string& path) {
    executorch::extension::Module module(path);
    if (module.load(executorch::runtime::Program::Verification::InternalConsistency) != executorch::runtime::Error::Ok)
        throw std::runtime_error("ExecuTorch does not verify it");
}

class ExecuTorchModel final : public Model {
public:
    explicit ExecuTorchModel(const Bundle& bundle) : shape_(bundle.manifest().input_shape()) {
        const std::string path = bundle.model().string();
        verify(path);
        // [snippet: load]
        module_ = std::make_unique<executorch::extension::Module>(path);
        if (module_->load_forward() != executorch::runtime::Error::Ok)
            throw std::runtime_error("ExecuTorch does not load it");
        // [end]
        for (const TensorSpec& output : bundle.manifest().outputs)
            outputs_.push_back(output.name);
    }

    Outputs run(const Planes& input) override {
        return std::visit([this](const auto& values) { return run_on(values); }, input);
    }

    std::string runtime() const override { return "ExecuTorch, XNNPACK"; }

private:
    // T is float, or std::uint8_t.
    template <typename T>
    Outputs run_on(std::vector<T> pixels) {
        // [snippet: run]
        const executorch::extension::TensorPtr tensor = executorch::extension::from_blob(
            pixels.data(), {shape_.begin(), shape_.end()}, executorch::runtime::CppTypeToScalarType<T>::value);
        const auto result = module_->forward(tensor);
        if (!result.ok())
            throw std::runtime_error("ExecuTorch does not run it");
        // [end]
        Outputs results;
        for (std::size_t i = 0; i < outputs_.size() && i < result->size(); ++i) {
            // Neither of the two is asked by what follows: toTensor() ends the program, and a float is read of any bytes.
            if (!result->at(i).isTensor() || result->at(i).toTensor().scalar_type() != executorch::aten::ScalarType::Float)
                throw std::runtime_error("output " + outputs_[i] + " is not float32");
            const auto& values = result->at(i).toTensor();
            results[outputs_[i]].assign(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
        }
        return results;
    }

    std::unique_ptr<executorch::extension::Module> module_;
    std::vector<int> shape_;
    std::vector<std::string> outputs_;
};

}  // namespace

std::unique_ptr<Model> load_executorch(const Bundle& bundle) { return std::make_unique<ExecuTorchModel>(bundle); }

}  // namespace edgevit
