#include <openvino/openvino.hpp>

#include <stdexcept>

#include "../model.h"

namespace edgevit {
namespace {

class OpenVinoModel final : public Model {
public:
    explicit OpenVinoModel(const Bundle& bundle) : shape_(bundle.manifest().input_shape_as<ov::Shape>()) {
        bundle.model_file("model.bin");  // recorded and checked, like the other
        const std::string path = bundle.model_file("model.xml").string();
        // [snippet: load]
        ov::Core core;
        const auto model = core.read_model(path);  // of model.xml, beside which model.bin lies
        ov::AnyMap settings;                       // stored in the file, and not applied by themselves
        for (const std::string name : {"INFERENCE_PRECISION_HINT", "SNIPPETS_MODE"})
            settings[name] = model->get_rt_info<std::string>("runtime_options", name);
        auto compiled = core.compile_model(model, "CPU", settings);
        request_ = compiled.create_infer_request();
        // [end]
        const auto asked = settings["INFERENCE_PRECISION_HINT"].as<std::string>();
        const std::string used = compiled.get_property(ov::hint::inference_precision).to_string();
        if (used != asked) {  // a hint is not an order; of what can be had instead, float32 is the nearest
            substitute_ = "this CPU computes in " + used + " when asked for " + asked + ", so it is run in float32";
            settings["INFERENCE_PRECISION_HINT"] = "f32";
            compiled = core.compile_model(model, "CPU", settings);
            if (compiled.get_property(ov::hint::inference_precision) != ov::element::f32)
                throw std::runtime_error(substitute_ + ", and it does not do that either");
            request_ = compiled.create_infer_request();
        }
        for (const TensorSpec& output : bundle.manifest().outputs)
            outputs_.push_back(output.name);
    }

    Outputs run(const Planes& input) override {
        return std::visit([this](const auto& values) { return run_on(values); }, input);
    }

    std::string runtime() const override { return std::string("OpenVINO ") + ov::get_openvino_version().buildNumber; }
    std::string substitute() const override { return substitute_; }

private:
    // T is float, or std::uint8_t.
    template <typename T>
    Outputs run_on(std::vector<T> pixels) {
        // [snippet: run]
        request_.set_input_tensor(ov::Tensor(ov::element::from<T>(), shape_, pixels.data()));
        request_.infer();
        // [end]
        Outputs results;
        for (const std::string& name : outputs_) {
            const ov::Tensor tensor = request_.get_tensor(name);
            results[name].assign(tensor.data<float>(), tensor.data<float>() + tensor.get_size());
        }
        return results;
    }

    ov::Shape shape_;
    ov::InferRequest request_;
    std::vector<std::string> outputs_;
    std::string substitute_;
};

}  // namespace

std::unique_ptr<Model> load_openvino(const Bundle& bundle) { return std::make_unique<OpenVinoModel>(bundle); }

}  // namespace edgevit
