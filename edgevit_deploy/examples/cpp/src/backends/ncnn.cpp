#include <net.h>

#include <cstring>
#include <stdexcept>

#include "../model.h"

namespace edgevit {
namespace {

class NcnnModel final : public Model {
public:
    explicit NcnnModel(const Bundle& bundle)
        : shape_(bundle.manifest().input_shape()), output_(bundle.manifest().outputs.front().name) {
        const std::string param = bundle.model_file("model.param").string(), bin = bundle.model_file("model.bin").string();
        const bool half = bundle.manifest().precision == "fp16", brain = bundle.manifest().precision == "bf16";
        // [snippet: load]
        // ncnn computes in half precision where it can unless it is told not to, before loading.
        net_.opt.use_fp16_packed = net_.opt.use_fp16_storage = half;
        net_.opt.use_fp16_arithmetic = false;
        net_.opt.use_bf16_storage = brain;
        if (net_.load_param(param.c_str()) != 0 || net_.load_model(bin.c_str()) != 0)
            throw std::runtime_error("ncnn does not load it");  // a net that did not load crashes when it is used
        // [end]
    }

    Outputs run(const std::vector<float>& input) override {
        const auto [height, width] = Size{shape_[2], shape_[3]};
        const std::size_t plane = static_cast<std::size_t>(height) * width;
        // [snippet: run]
        ncnn::Mat pixels(width, height, 3);
        for (int channel = 0; channel < 3; ++channel)  // a Mat's planes need not lie close together
            std::memcpy(pixels.channel(channel), input.data() + channel * plane, plane * sizeof(float));
        ncnn::Extractor extractor = net_.create_extractor();
        ncnn::Mat result;
        if (extractor.input("in0", pixels) != 0 || extractor.extract("out0", result) != 0)
            throw std::runtime_error("ncnn does not run it");
        // [end]
        const float* values = result;
        return {{output_, {values, values + result.w}}};
    }

    std::string runtime() const override { return "ncnn " NCNN_VERSION_STRING; }

private:
    ncnn::Net net_;
    std::vector<int> shape_;
    std::string output_;
};

}  // namespace

std::unique_ptr<Model> load_ncnn(const Bundle& bundle) { return std::make_unique<NcnnModel>(bundle); }

}  // namespace edgevit
