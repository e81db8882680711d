// Which kernels this CPU gets.
#pragma once

#include "cpu/kernel.h"

namespace lstmcore {
namespace cpu {

// The highest level this CPU supports, or the one LSTMCORE_FORCE_ISA names; see current_isa() for errors.
const Kernels& select_kernels();

}  // namespace cpu
}  // namespace lstmcore
