// Runs net.cpp over these stand-ins: once with memory, once without.

#include <cstdio>

#include "jni.h"
#include "net.h"

extern "C" jlong Java_edgevit_app_NcnnBackend_load(JNIEnv*, jobject, jstring, jstring, jstring);
extern "C" jfloatArray Java_edgevit_app_NcnnBackend_run(JNIEnv*, jobject, jlong, jfloatArray, jint, jint);
extern "C" void Java_edgevit_app_NcnnBackend_unload(JNIEnv*, jobject, jlong);

int main() {
    JNIEnv env;
    const jlong net = Java_edgevit_app_NcnnBackend_load(&env, nullptr, "model.param", "model.bin", "fp32");
    std::vector<float> input = {1, 2, 3, 4, 5, 6};
    for (const bool lacking : {false, true}) {
        ncnn::no_memory = lacking;
        const jfloatArray outputs = Java_edgevit_app_NcnnBackend_run(&env, nullptr, net, &input, 1, 2);
        if (outputs == nullptr)
            std::puts("null");
        else
            std::printf("%g %g %g\n", (*outputs)[0], (*outputs)[1], (*outputs)[2]);
        delete outputs;
    }
    Java_edgevit_app_NcnnBackend_unload(&env, nullptr, net);
}
