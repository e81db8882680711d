"""TensorFlow 1's base layer: a scope, variables built on first use, weights, a config."""
