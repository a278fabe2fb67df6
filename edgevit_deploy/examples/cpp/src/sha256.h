#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace edgevit {

// SHA-256 (FIPS 180-4), here so that the program needs no library of cryptography for it.
class Sha256 {
public:
    void add(const void* data, std::size_t size);

    // The digest of all that was added, in hex; nothing can be added afterwards.
    std::string hex();

private:
    void add_block(const std::uint8_t* block);

    std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                           0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<std::uint8_t, 64> rest_{};
    std::uint64_t size_ = 0;
};

std::string sha256_of(const void* data, std::size_t size);

}  // namespace edgevit
