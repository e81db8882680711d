// CRC-32C (Castagnoli), which TensorFlow checkpoints carry.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lstmcore {

// Extends `crc` (0 to begin) over `size` bytes.
std::uint32_t crc32c(std::uint32_t crc, const void* data, std::size_t size);

}  // namespace lstmcore
