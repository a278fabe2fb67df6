# For an ARM64 Linux, on another machine: cmake -S . -B build -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake
# -DEDGEVIT_SYSROOT=FOLDER, with g++-aarch64-linux-gnu of Debian or Ubuntu. FOLDER holds libjpeg, libpng and nlohmann-json for
# ARM64, as their packages do (usr/include, usr/lib/aarch64-linux-gnu); the C library is the compiler's own.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

set(EDGEVIT_SYSROOT "" CACHE PATH "folder with usr/include and usr/lib of the ARM64 machine")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES EDGEVIT_SYSROOT)
list(APPEND CMAKE_FIND_ROOT_PATH "${EDGEVIT_SYSROOT}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY BOTH)  # runtimes are given as paths of their own
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH)
# -Wno-psabi: the compiler's remark that its convention for calls changed in its version 10. No old object is linked.
set(CMAKE_CXX_FLAGS_INIT "-isystem ${EDGEVIT_SYSROOT}/usr/include/aarch64-linux-gnu -Wno-psabi")
# Libraries that those need in turn.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-rpath-link,${EDGEVIT_SYSROOT}/usr/lib/aarch64-linux-gnu")
