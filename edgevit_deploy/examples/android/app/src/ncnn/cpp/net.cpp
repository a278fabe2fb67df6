// What NcnnBackend.kt calls: a net is loaded, run, and let go. Nothing is thrown into Java; a null says that it failed.

#include <jni.h>

#include <memory>
#include <string>

#include "net.h"

namespace {

std::string text(JNIEnv* env, jstring value) {
    const char* characters = env->GetStringUTFChars(value, nullptr);
    std::string copy = characters != nullptr ? characters : "";
    if (characters != nullptr)
        env->ReleaseStringUTFChars(value, characters);
    return copy;
}

// ncnn computes in half precision where it can, unless it is told not to before loading; the bundle's bound holds for these.
void set_precision(ncnn::Option& options, const std::string& precision) {
    options.use_fp16_packed = options.use_fp16_storage = precision == "fp16";
    options.use_fp16_arithmetic = false;
    options.use_bf16_storage = precision == "bf16";
}

}  // namespace

extern "C" JNIEXPORT jlong JNICALL Java_edgevit_app_NcnnBackend_load(JNIEnv* env, jobject, jstring param, jstring bin,
                                                                    jstring precision) {
    auto net = std::make_unique<ncnn::Net>();
    set_precision(net->opt, text(env, precision));
    if (net->load_param(text(env, param).c_str()) != 0 || net->load_model(text(env, bin).c_str()) != 0)
        return 0;  // a net that did not load crashes when it is used
    return reinterpret_cast<jlong>(net.release());
}

extern "C" JNIEXPORT jfloatArray JNICALL Java_edgevit_app_NcnnBackend_run(JNIEnv* env, jobject, jlong net, jfloatArray input,
                                                                         jint height, jint width) {
    const jint plane = height * width;
    if (env->GetArrayLength(input) != 3 * plane)
        return nullptr;
    ncnn::Mat pixels(width, height, 3);
    if (pixels.empty())  // no memory: ncnn does not throw
        return nullptr;
    for (int channel = 0; channel < 3; channel++)  // each plane by itself: ncnn pads between them
        env->GetFloatArrayRegion(input, channel * plane, plane, pixels.channel(channel));
    ncnn::Extractor run = reinterpret_cast<ncnn::Net*>(net)->create_extractor();
    ncnn::Mat outputs;
    if (run.input("in0", pixels) != 0 || run.extract("out0", outputs) != 0 || outputs.dims != 1)
        return nullptr;
    jfloatArray result = env->NewFloatArray(outputs.w);  // total() also counts what ncnn pads with
    if (result != nullptr)
        env->SetFloatArrayRegion(result, 0, outputs.w, static_cast<const float*>(outputs.data));
    return result;
}

extern "C" JNIEXPORT void JNICALL Java_edgevit_app_NcnnBackend_unload(JNIEnv*, jobject, jlong net) {
    delete reinterpret_cast<ncnn::Net*>(net);
}
