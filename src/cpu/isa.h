// Which kernels this CPU gets.
#pragma once

#include <string>

#include "cpu/kernel.h"

namespace lstmcore {
namespace cpu {

// Throws std::runtime_error when this build or this CPU lacks the level.
const Kernels& kernels_named(const std::string& isa);

}  // namespace cpu
}  // namespace lstmcore
