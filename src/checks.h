// The checks of a call that do not depend on the layer: those of a stack are made before any layer runs.
#pragma once

#include "lstmcore/lstm.h"

namespace lstmcore {

// Throws std::invalid_argument for negative sizes, lengths outside 0..T, and offsets that are no offsets.
template <class T>
void check_rows(const ForwardArgs<T>& args);

}  // namespace lstmcore
