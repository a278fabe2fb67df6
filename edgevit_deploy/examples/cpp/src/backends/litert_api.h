#pragma once

// What this program calls of LiteRT's C API (2.2 and 2.3). The ai-edge-litert wheel has the library and no headers; LiteRT
// declares the layout of these structures stable, and the function names carry a version in the library.

#include <cstddef>
#include <cstdint>

extern "C" {

using LiteRtStatus = int;  // 0 is good
using LiteRtEnvironment = struct LiteRtEnvironmentT*;
using LiteRtModel = struct LiteRtModelT*;
using LiteRtOptions = struct LiteRtOptionsT*;
using LiteRtCompiledModel = struct LiteRtCompiledModelT*;
using LiteRtSignature = struct LiteRtSignatureT*;
using LiteRtTensor = struct LiteRtTensorT*;
using LiteRtTensorBuffer = struct LiteRtTensorBufferT*;
using LiteRtTensorBufferRequirements = struct LiteRtTensorBufferRequirementsT*;

struct LiteRtLayout {
    unsigned int rank : 7;
    unsigned int has_strides : 1;
    std::int32_t dimensions[8];
    std::uint32_t strides[8];
};

struct LiteRtRankedTensorType {
    int element_type;
    LiteRtLayout layout;
};

// A setting of the environment: which it is, and an integer.
struct LiteRtEnvOption {
    int tag;
    struct {
        int type;  // LITERT_INTEGER
        std::int64_t integer;
    } value;
};

static_assert(sizeof(LiteRtLayout) == 68 && sizeof(LiteRtRankedTensorType) == 72 && sizeof(LiteRtEnvOption) == 24,
              "not as LiteRT lays it out");

constexpr int LITERT_FLOAT32 = 1, LITERT_UINT8 = 3;  // types of elements
constexpr int LITERT_CPU = 1;
constexpr int LITERT_INTEGER = 2;
constexpr int LITERT_LOCK_READ = 0, LITERT_LOCK_WRITE = 1;
constexpr int LITERT_ACCELERATORS = 24, LITERT_LOG_SEVERITY = 25;  // settings of the environment
constexpr int LITERT_ERRORS = 3;                                   // and above, of what is logged

LiteRtStatus LiteRtCreateEnvironment(int count, const LiteRtEnvOption* options, LiteRtEnvironment* environment);
void LiteRtDestroyEnvironment(LiteRtEnvironment environment);
LiteRtStatus LiteRtCreateModelFromFile(LiteRtEnvironment environment, const char* path, LiteRtModel* model);
void LiteRtDestroyModel(LiteRtModel model);
LiteRtStatus LiteRtGetModelSignature(LiteRtModel model, std::size_t index, LiteRtSignature* signature);
LiteRtStatus LiteRtGetNumSignatureInputs(LiteRtSignature signature, std::size_t* count);
LiteRtStatus LiteRtGetSignatureInputTensorByIndex(LiteRtSignature signature, std::size_t index, LiteRtTensor* tensor);
LiteRtStatus LiteRtGetNumSignatureOutputs(LiteRtSignature signature, std::size_t* count);
LiteRtStatus LiteRtGetSignatureOutputName(LiteRtSignature signature, std::size_t index, const char** name);
LiteRtStatus LiteRtGetSignatureOutputTensorByIndex(LiteRtSignature signature, std::size_t index, LiteRtTensor* tensor);
LiteRtStatus LiteRtGetRankedTensorType(LiteRtTensor tensor, LiteRtRankedTensorType* type);
LiteRtStatus LiteRtCreateOptions(LiteRtOptions* options);
LiteRtStatus LiteRtSetOptionsHardwareAccelerators(LiteRtOptions options, int accelerators);
void LiteRtDestroyOptions(LiteRtOptions options);
LiteRtStatus LiteRtCreateCompiledModel(LiteRtEnvironment environment, LiteRtModel model, LiteRtOptions options,
                                       LiteRtCompiledModel* compiled);
void LiteRtDestroyCompiledModel(LiteRtCompiledModel compiled);
LiteRtStatus LiteRtGetCompiledModelInputBufferRequirements(LiteRtCompiledModel compiled, std::size_t signature, std::size_t index,
                                                           LiteRtTensorBufferRequirements* requirements);
LiteRtStatus LiteRtGetCompiledModelOutputBufferRequirements(LiteRtCompiledModel compiled, std::size_t signature,
                                                            std::size_t index, LiteRtTensorBufferRequirements* requirements);
LiteRtStatus LiteRtCreateManagedTensorBufferFromRequirements(LiteRtEnvironment environment, const LiteRtRankedTensorType* type,
                                                             LiteRtTensorBufferRequirements requirements,
                                                             LiteRtTensorBuffer* buffer);
LiteRtStatus LiteRtGetTensorBufferPackedSize(LiteRtTensorBuffer buffer, std::size_t* bytes);
LiteRtStatus LiteRtLockTensorBuffer(LiteRtTensorBuffer buffer, void** memory, int mode);
LiteRtStatus LiteRtUnlockTensorBuffer(LiteRtTensorBuffer buffer);
void LiteRtDestroyTensorBuffer(LiteRtTensorBuffer buffer);
LiteRtStatus LiteRtRunCompiledModel(LiteRtCompiledModel compiled, std::size_t signature, std::size_t input_count,
                                    LiteRtTensorBuffer* inputs, std::size_t output_count, LiteRtTensorBuffer* outputs);
}
