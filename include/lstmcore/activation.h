// Activations that have a fused kernel, and their names (Keras spelling where Keras has one).
#pragma once

#include <string>
#include <vector>

namespace lstmcore {

enum class Activation : int {
  tanh,
  sigmoid,
  relu,
  linear,
  softsign,
  hard_sigmoid,         // Keras 2: clip(0.2 x + 0.5, 0, 1)
  hard_sigmoid_keras3,  // Keras 3: clip(x / 6 + 0.5, 0, 1)
  relu6,
  leaky_relu,  // slope 0.2 for x < 0, TensorFlow's default
  elu,
  selu,
  exponential,
  silu,
};

// Throws std::invalid_argument, listing the known names, for an unknown one.
Activation activation_from_name(const std::string& name);
const char* activation_name(Activation activation);
std::vector<std::string> activation_names();

}  // namespace lstmcore
