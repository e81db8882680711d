#include "lstmcore/activation.h"

#include <stdexcept>

namespace lstmcore {
namespace {

// In the order of the enum.
constexpr const char* kNames[] = {
    "tanh",  "sigmoid",    "relu", "linear", "softsign",    "hard_sigmoid", "hard_sigmoid_keras3",
    "relu6", "leaky_relu", "elu",  "selu",   "exponential", "silu",
};

}  // namespace

const char* activation_name(Activation activation) { return kNames[static_cast<int>(activation)]; }

std::vector<std::string> activation_names() { return {std::begin(kNames), std::end(kNames)}; }

Activation activation_from_name(const std::string& name) {
  std::string known;
  int index = 0;
  for (const char* candidate : kNames) {
    if (name == candidate) return static_cast<Activation>(index);
    known += (index++ ? ", " : "") + std::string(candidate);
  }
  throw std::invalid_argument("activation '" + name + "' has no fused kernel; there are: " + known);
}

}  // namespace lstmcore
