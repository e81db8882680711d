"""Variables as TensorFlow 1 has them: graphs, scopes, names, sharing, initial values."""
