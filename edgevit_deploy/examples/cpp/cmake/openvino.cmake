# The openvino wheel has everything, its CMake files too. -DOpenVINO_DIR=FOLDER gives those of another installation.
edgevit_wheel(wheel openvino)
find_package(OpenVINO QUIET COMPONENTS Runtime HINTS "${wheel}/cmake")
if(TARGET openvino::runtime)
  edgevit_back_end(openvino)
  target_link_libraries(edgevit_openvino PUBLIC openvino::runtime)
else()
  set(EDGEVIT_openvino_MISSING "OpenVINO not found; pip install openvino, or give -DOpenVINO_DIR=FOLDER of its CMake files")
endif()
