// ONNX Runtime's C++ API, which is headers alone over its C API: a program built with older headers runs with newer libraries.
#include <onnxruntime_cxx_api.h>

#include <stdexcept>

#include "../model.h"

namespace edgevit {
namespace {

class OnnxModel final : public Model {
public:
    explicit OnnxModel(const Bundle& bundle)
        : input_(bundle.manifest().input.name), shape_(bundle.manifest().input_shape_as<std::vector<std::int64_t>>()) {
        const std::filesystem::path path = bundle.model();
        // [snippet: load]
        session_ = Ort::Session(environment_, path.c_str(), Ort::SessionOptions{});
        // [end]
        for (const TensorSpec& output : bundle.manifest().outputs)
            outputs_.push_back(output.name);
    }

    Outputs run(const Planes& input) override {
        return std::visit([this](const auto& values) { return run_on(values); }, input);
    }

    std::string runtime() const override { return "ONNX Runtime " + Ort::GetVersionString(); }

private:
    // T is float, or std::uint8_t.
    template <typename T>
    Outputs run_on(std::vector<T> pixels) {
        std::vector<const char*> names;
        for (const std::string& name : outputs_)
            names.push_back(name.c_str());
        // [snippet: run]
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const Ort::Value tensor =
            Ort::Value::CreateTensor<T>(memory, pixels.data(), pixels.size(), shape_.data(), shape_.size());
        const char* feed = input_.c_str();
        const auto values = session_.Run(Ort::RunOptions{}, &feed, &tensor, 1, names.data(), names.size());
        // [end]
        Outputs results;
        for (std::size_t i = 0; i < values.size(); ++i) {
            const auto form = values[i].GetTensorTypeAndShapeInfo();
            if (form.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)  // GetTensorData does not ask
                throw std::runtime_error("output " + outputs_[i] + " is not float32");
            const float* data = values[i].GetTensorData<float>();
            results[outputs_[i]].assign(data, data + form.GetElementCount());
        }
        return results;
    }

    // What goes wrong it throws as well, and its log would show a stranger's names as they are.
    Ort::Env environment_{ORT_LOGGING_LEVEL_FATAL, "edgevit"};
    Ort::Session session_{nullptr};
    std::string input_;
    std::vector<std::int64_t> shape_;
    std::vector<std::string> outputs_;
};

}  // namespace

std::unique_ptr<Model> load_onnx(const Bundle& bundle) { return std::make_unique<OnnxModel>(bundle); }

}  // namespace edgevit
