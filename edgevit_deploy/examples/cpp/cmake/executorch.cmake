# The executorch wheel has headers and libraries, and this needs no PyTorch. -DEXECUTORCH_ROOT=FOLDER is a folder with include/ and
# lib/ of that kind, for example an unpacked wheel for another processor.
set(EXECUTORCH_ROOT "" CACHE PATH "folder of an executorch wheel, with include/ and lib/")
set(root "${EXECUTORCH_ROOT}")
if(NOT root)
  edgevit_wheel(root executorch)
endif()
set(libraries "")
foreach(name executorch executorch_backend_xnnpack executorch_kernels_optimized executorch_threadpool)
  if(EXISTS "${root}/lib/lib${name}.so")
    list(APPEND libraries "${root}/lib/lib${name}.so")
  endif()
endforeach()
list(LENGTH libraries count)
if(count EQUAL 4 AND EXISTS "${root}/include/executorch/extension/module/module.h")
  edgevit_back_end(executorch)
  target_include_directories(edgevit_executorch SYSTEM PRIVATE
    "${root}/include" "${root}/include/executorch/runtime/core/portable_type/c10")
  target_compile_definitions(edgevit_executorch PRIVATE C10_USING_CUSTOM_GENERATED_MACROS)
  # Back end and kernels register themselves when they are loaded: nothing calls them, and a linker would leave them out.
  target_link_libraries(edgevit_executorch PUBLIC -Wl,--push-state,--no-as-needed ${libraries} -Wl,--pop-state)
  if(CMAKE_CROSSCOMPILING)  # what these libraries need in turn is on the other machine
    target_link_options(edgevit_executorch PUBLIC -Wl,--allow-shlib-undefined)
  endif()
else()
  set(EDGEVIT_executorch_MISSING
    "ExecuTorch not found; pip install executorch, or give -DEXECUTORCH_ROOT=FOLDER of its wheel; a wheel for Linux is expected")
endif()
