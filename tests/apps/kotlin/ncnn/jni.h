// No more of Java's native interface than net.cpp asks for.
#pragma once

#include <algorithm>
#include <vector>

#define JNIEXPORT
#define JNICALL

using jint = int;
using jlong = long long;
using jobject = void*;
using jstring = const char*;
using jfloatArray = std::vector<float>*;

struct JNIEnv {
    const char* GetStringUTFChars(jstring value, void*) { return value; }
    void ReleaseStringUTFChars(jstring, const char*) {}
    jint GetArrayLength(jfloatArray array) { return static_cast<jint>(array->size()); }
    void GetFloatArrayRegion(jfloatArray array, jint start, jint count, float* into) {
        std::copy_n(array->begin() + start, count, into);
    }
    jfloatArray NewFloatArray(jint count) { return new std::vector<float>(static_cast<std::size_t>(count)); }
    void SetFloatArrayRegion(jfloatArray array, jint start, jint count, const float* from) {
        std::copy_n(from, count, array->begin() + start);
    }
};
