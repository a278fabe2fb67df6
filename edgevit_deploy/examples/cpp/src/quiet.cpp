#include "quiet.h"

#include <cstdio>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#else
#include <fcntl.h>
#include <unistd.h>
#endif

namespace edgevit {
namespace {

#ifdef _WIN32
constexpr const char* NOWHERE = "NUL";
int opened(const char* path) { return _open(path, _O_WRONLY); }
int copy_of(int file) { return _dup(file); }
void put(int file, int place) { _dup2(file, place); }
void closed(int file) { _close(file); }
#else
constexpr const char* NOWHERE = "/dev/null";
int opened(const char* path) { return open(path, O_WRONLY); }
int copy_of(int file) { return dup(file); }
void put(int file, int place) { dup2(file, place); }
void closed(int file) { close(file); }
#endif

constexpr int STDERR = 2;

}  // namespace

Quiet::Quiet() : stderr_(copy_of(STDERR)) {
    const int nowhere = stderr_ < 0 ? -1 : opened(NOWHERE);
    if (nowhere < 0)
        return;
    std::fflush(stderr);
    put(nowhere, STDERR);
    closed(nowhere);
}

Quiet::~Quiet() {
    if (stderr_ < 0)
        return;
    std::fflush(stderr);
    put(stderr_, STDERR);
    closed(stderr_);
}

}  // namespace edgevit
