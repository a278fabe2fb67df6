#include <cstring>
#include <stdexcept>

#include "../model.h"
#include "litert_api.h"

namespace edgevit {
namespace {

void check(LiteRtStatus status, const char* what) {
    if (status != 0)
        throw std::runtime_error(std::string(what) + " (LiteRT's status " + std::to_string(status) + ")");
}

// What LiteRT made, destroyed in the reverse order of the members below.
template <typename Handle, void (*destroy)(Handle)>
class Owned {
public:
    Owned() = default;
    ~Owned() {
        if (handle_ != nullptr)
            destroy(handle_);
    }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    Handle* made() { return &handle_; }
    operator Handle() const { return handle_; }

private:
    Handle handle_ = nullptr;
};

class LiteRtFile final : public Model {
public:
    explicit LiteRtFile(const Bundle& bundle) {
        const std::string path = bundle.model().string();
        // [snippet: load]
        // The CPU alone: LiteRT would look for libraries of other processors, and tell at length that there are none.
        const LiteRtEnvOption settings[] = {{LITERT_ACCELERATORS, {LITERT_INTEGER, LITERT_CPU}},
                                            {LITERT_LOG_SEVERITY, {LITERT_INTEGER, LITERT_ERRORS}}};
        check(LiteRtCreateEnvironment(2, settings, environment_.made()), "LiteRT does not start");
        check(LiteRtCreateModelFromFile(environment_, path.c_str(), model_.made()), "LiteRT does not load it");
        Owned<LiteRtOptions, LiteRtDestroyOptions> options;
        check(LiteRtCreateOptions(options.made()), "LiteRT's options");
        check(LiteRtSetOptionsHardwareAccelerators(options, LITERT_CPU), "LiteRT's CPU");
        check(LiteRtCreateCompiledModel(environment_, model_, options, compiled_.made()), "LiteRT does not compile it");
        // [end]
        LiteRtSignature signature = nullptr;
        std::size_t inputs = 0, outputs = 0;
        check(LiteRtGetModelSignature(model_, 0, &signature), "no signature");
        check(LiteRtGetNumSignatureInputs(signature, &inputs), "no inputs");
        check(LiteRtGetNumSignatureOutputs(signature, &outputs), "no outputs");
        if (inputs != 1 || outputs != bundle.manifest().outputs.size())
            throw std::runtime_error("its signature has not the inputs and outputs of the manifest");
        LiteRtTensor tensor = nullptr;
        LiteRtTensorBufferRequirements requirements = nullptr;
        check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor), "its input");
        check(LiteRtGetCompiledModelInputBufferRequirements(compiled_, 0, 0, &requirements), "its input's memory");
        input_type_ = make_buffer(tensor, requirements, input_);
        outputs_ = std::vector<Buffer>(outputs);
        for (std::size_t i = 0; i < outputs; ++i) {
            const char* name = nullptr;
            check(LiteRtGetSignatureOutputName(signature, i, &name), "an output's name");
            check(LiteRtGetSignatureOutputTensorByIndex(signature, i, &tensor), "an output");
            check(LiteRtGetCompiledModelOutputBufferRequirements(compiled_, 0, i, &requirements), "an output's memory");
            if (make_buffer(tensor, requirements, outputs_[i]) != LITERT_FLOAT32)
                throw std::runtime_error("an output is not float32");
            names_.emplace_back(name);
        }
    }

    Outputs run(const Planes& input) override {
        return std::visit([this](const auto& values) { return run_on(values); }, input);
    }

    std::string runtime() const override { return "LiteRT"; }

private:
    using Buffer = Owned<LiteRtTensorBuffer, LiteRtDestroyTensorBuffer>;

    // T is float, or std::uint8_t.
    template <typename T>
    Outputs run_on(const std::vector<T>& input) {
        if (input_type_ != (sizeof(T) == 1 ? LITERT_UINT8 : LITERT_FLOAT32) || input.size() * sizeof(T) != bytes_of(input_))
            throw std::runtime_error("its input is of another type or size than the manifest's");
        std::vector<LiteRtTensorBuffer> inputs = {input_}, outputs(outputs_.begin(), outputs_.end());
        // [snippet: run]
        void* memory = nullptr;
        check(LiteRtLockTensorBuffer(input_, &memory, LITERT_LOCK_WRITE), "its input");
        std::memcpy(memory, input.data(), input.size() * sizeof(T));
        check(LiteRtUnlockTensorBuffer(input_), "its input");
        check(LiteRtRunCompiledModel(compiled_, 0, 1, inputs.data(), outputs.size(), outputs.data()), "LiteRT does not run it");
        // [end]
        Outputs results;
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            std::vector<float>& values = results[names_[i]];
            values.resize(bytes_of(outputs[i]) / sizeof(float));
            check(LiteRtLockTensorBuffer(outputs[i], &memory, LITERT_LOCK_READ), "an output");
            std::memcpy(values.data(), memory, values.size() * sizeof(float));
            check(LiteRtUnlockTensorBuffer(outputs[i]), "an output");
        }
        return results;
    }

    // Returns the type of its elements.
    int make_buffer(LiteRtTensor tensor, LiteRtTensorBufferRequirements requirements, Buffer& buffer) {
        LiteRtRankedTensorType type{};
        check(LiteRtGetRankedTensorType(tensor, &type), "a tensor's type");
        check(LiteRtCreateManagedTensorBufferFromRequirements(environment_, &type, requirements, buffer.made()),
              "a tensor's memory");
        return type.element_type;
    }

    static std::size_t bytes_of(LiteRtTensorBuffer buffer) {
        std::size_t bytes = 0;
        check(LiteRtGetTensorBufferPackedSize(buffer, &bytes), "a tensor's size");
        return bytes;
    }

    Owned<LiteRtEnvironment, LiteRtDestroyEnvironment> environment_;
    Owned<LiteRtModel, LiteRtDestroyModel> model_;
    Owned<LiteRtCompiledModel, LiteRtDestroyCompiledModel> compiled_;
    Buffer input_;
    int input_type_ = 0;
    std::vector<Buffer> outputs_;
    std::vector<std::string> names_;
};

}  // namespace

std::unique_ptr<Model> load_litert(const Bundle& bundle) { return std::make_unique<LiteRtFile>(bundle); }

}  // namespace edgevit
