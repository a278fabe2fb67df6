# Which runtimes the program is built with, and where each is found: in the Python wheel of that runtime if one is installed (they
# hold the libraries, and most of them the headers too), or where a -D...=FOLDER says. One file a runtime: cmake/NAME.cmake, which
# makes the target edgevit_NAME if it finds what it needs, and otherwise sets EDGEVIT_NAME_MISSING to what was missing.

set(EDGEVIT_KNOWN onnx openvino executorch litert ncnn torchscript)
set(EDGEVIT_BACKENDS "" CACHE STRING
  "onnx;openvino;executorch;litert;torchscript;ncnn, or all that are found; by default that of the bundle in bundle/")
set(EDGEVIT_PYTHON "" CACHE FILEPATH "a Python whose wheels are used; by default python3 on the PATH")

# Set OUT to the folder of an installed Python package, or to nothing; the package is not imported. For another processor than this
# machine's no wheel that is installed here would do.
function(edgevit_wheel out package)
  set(${out} "" PARENT_SCOPE)
  if(CMAKE_CROSSCOMPILING)
    return()
  endif()
  set(python "${EDGEVIT_PYTHON}")
  if(NOT python)
    find_program(EDGEVIT_FOUND_PYTHON NAMES python3 python)
    set(python "${EDGEVIT_FOUND_PYTHON}")
  endif()
  if(python)
    execute_process(
      COMMAND "${python}" -c
        "import importlib.util as u; s = u.find_spec('${package}'); print(list(s.submodule_search_locations)[0] if s else '', end='')"
      OUTPUT_VARIABLE found ERROR_QUIET)
    set(${out} "${found}" PARENT_SCOPE)
  endif()
endfunction()

# Make the target edgevit_NAME of a back end's one source file.
function(edgevit_back_end name)
  add_library(edgevit_${name} OBJECT "${CMAKE_CURRENT_SOURCE_DIR}/src/backends/${name}.cpp")
  target_link_libraries(edgevit_${name} PUBLIC edgevit_core)
endfunction()

set(wanted "${EDGEVIT_BACKENDS}")
set(all FALSE)
if(wanted STREQUAL "" AND EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/bundle/manifest.json")
  file(READ "${CMAKE_CURRENT_SOURCE_DIR}/bundle/manifest.json" manifest)
  string(JSON wanted GET "${manifest}" target)
elseif(wanted STREQUAL "" OR wanted STREQUAL "all")
  set(wanted "${EDGEVIT_KNOWN}")
  set(all TRUE)
endif()

foreach(name IN LISTS wanted)
  if(NOT name IN_LIST EDGEVIT_KNOWN)
    message(FATAL_ERROR "no back end ${name}; there are ${EDGEVIT_KNOWN}")
  endif()
endforeach()

set(EDGEVIT_BUILT "")
foreach(name IN LISTS EDGEVIT_KNOWN)
  if(NOT name IN_LIST wanted)
    continue()
  endif()
  include(${name})
  if(TARGET edgevit_${name})
    message(STATUS "back end ${name}: built")
    list(APPEND EDGEVIT_BUILT ${name})
  elseif(all)
    message(STATUS "back end ${name}: left out (${EDGEVIT_${name}_MISSING})")
  else()
    message(FATAL_ERROR "back end ${name}: ${EDGEVIT_${name}_MISSING}")
  endif()
endforeach()

# The program's own list of them: a line EDGEVIT_BACK_END(name) each.
set(lines "")
foreach(name IN LISTS EDGEVIT_BUILT)
  string(APPEND lines "EDGEVIT_BACK_END(${name})\n")
endforeach()
file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/generated/back_ends.inc" CONTENT "${lines}")

function(edgevit_link_back_ends program)
  target_include_directories(${program} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/generated")
  foreach(name IN LISTS EDGEVIT_BUILT)
    target_link_libraries(${program} PRIVATE edgevit_${name})
  endforeach()
endfunction()
