# The torch wheel has headers and libraries. -DTORCH_ROOT=FOLDER is an unpacked libtorch. Not in one program with ExecuTorch: beside
# PyTorch's libraries, which have XNNPACK and its helpers under the same names, ExecuTorch's XNNPACK does not register itself.
set(TORCH_ROOT "" CACHE PATH "folder of a libtorch or a torch wheel, with include/ and lib/")
set(root "${TORCH_ROOT}")
if(NOT root)
  edgevit_wheel(root torch)
endif()
if(TARGET edgevit_executorch)
  set(EDGEVIT_torchscript_MISSING "it cannot be in one program with executorch; build it alone: -DEDGEVIT_BACKENDS=torchscript")
elseif(EXISTS "${root}/include/torch/csrc/jit/mobile/import.h" AND EXISTS "${root}/lib/libtorch_cpu.so")
  edgevit_back_end(torchscript)
  target_compile_features(edgevit_torchscript PRIVATE cxx_std_20)
  target_include_directories(edgevit_torchscript SYSTEM PRIVATE "${root}/include" "${root}/include/torch/csrc/api/include")
  target_link_libraries(edgevit_torchscript PUBLIC
    -Wl,--push-state,--no-as-needed "${root}/lib/libtorch_cpu.so" "${root}/lib/libc10.so" -Wl,--pop-state)
else()
  set(EDGEVIT_torchscript_MISSING "PyTorch not found; pip install torch, or give -DTORCH_ROOT=FOLDER of a libtorch")
endif()
