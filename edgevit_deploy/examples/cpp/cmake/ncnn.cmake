# ncnn's own build installs a CMake package; its wheels have neither headers nor a library to link with.
find_package(ncnn QUIET)
if(TARGET ncnn)
  edgevit_back_end(ncnn)
  target_link_libraries(edgevit_ncnn PUBLIC ncnn)
else()
  set(EDGEVIT_ncnn_MISSING "ncnn not found; build and install it from its sources, and give -Dncnn_DIR=FOLDER with ncnnConfig.cmake")
endif()
