#include <datareader.h>
#include <net.h>

#include <cstring>
#include <stdexcept>

#include "../model.h"

namespace edgevit {
namespace {

// Whether this ncnn stores activations in bfloat16 when it is asked to; one that was built without computes in float32, in silence.
// One convolution is asked for its result as it is stored.
bool stores_bf16() {
    static const unsigned char weights[4 + 16 * sizeof(float)] = {};  // a tag for float32, and a 1x1 convolution of 4 to 4 channels
    ncnn::Net net;
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = false;
    net.opt.use_bf16_storage = true;
    const unsigned char* unread = weights;
    const ncnn::DataReaderFromMemory reader(unread);
    if (net.load_param_mem("7767517\n2 2\nInput in 0 1 in0\nConvolution convolution 1 1 in0 out0 0=4 1=1 6=16\n") != 0 ||
        net.load_model(reader) != 0)
        return false;
    ncnn::Mat ones(4, 4, 4), stored;
    ones.fill(1.0f);
    ncnn::Extractor extractor = net.create_extractor();
    const int as_stored = 1;
    return extractor.input("in0", ones) == 0 && extractor.extract("out0", stored, as_stored) == 0 && stored.elembits() == 16;
}

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
        if (brain && !stores_bf16()) substitute_ = "this ncnn stores nothing in bfloat16, so it is run in float32";
    }

    Outputs run(const Planes& planes) override {
        if (!std::holds_alternative<std::vector<float>>(planes))
            throw std::runtime_error("ncnn takes no bytes");
        const std::vector<float>& input = std::get<std::vector<float>>(planes);
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

    std::string substitute() const override { return substitute_; }
    std::string runtime() const override { return "ncnn " NCNN_VERSION_STRING; }

private:
    ncnn::Net net_;
    std::vector<int> shape_;
    std::string output_, substitute_;
};

}  // namespace

std::unique_ptr<Model> load_ncnn(const Bundle& bundle) { return std::make_unique<NcnnModel>(bundle); }

}  // namespace edgevit
