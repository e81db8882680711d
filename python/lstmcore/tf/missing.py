"""What names that ``lstmcore.tf`` lacks answer: what to use in their place."""

from __future__ import annotations

import re

import numpy as np

_TRAINING = re.compile(
    r"Optimizer$|^(train|losses|metrics|summary|estimator|GradientTape|gradients?|global_step"
    r"|exponential_decay|Coordinator|start_queue_runners|MonitoredTrainingSession|clip_by_\w*norm"
    r"|global_norm|get_or_create_global_step|\w*(cross_entropy|l2_loss|ctc_loss|regularizer)\w*)$"
)
_PLAIN_PYTHON = re.compile(
    r"^(while_loop|cond|py_func|Print|import_graph_def|GraphDef|GPUOptions|control_dependencies"
    r"|\w*(variables|tables)_initializer|saved_model|gfile|data|app|flags)$"
)
_NUMPY_NAMES = {f"reduce_{name}": name for name in ("all", "any", "min", "prod")}


def missing_name(module: str, name: str) -> AttributeError:
    """The error for ``module.name``, where ``module`` is a path such as ``tf.nn``."""
    if name == "__version__":
        return AttributeError(
            f"lstmcore.{module} has no '__version__': it is no release of TensorFlow. It offers "
            "the names of 1.15 around LSTM cells; lstmcore.__version__ is its own version."
        )
    if name.startswith("__"):
        return AttributeError(name)
    return AttributeError(
        f"lstmcore.{module} has no '{name}': it offers the part of TensorFlow 1 around LSTM "
        f"cells, on NumPy arrays. {_advice(name)}"
    )


def _advice(name: str) -> str:
    array_function = _NUMPY_NAMES.get(name, name)
    if _TRAINING.search(name):
        return "It computes no gradients: train elsewhere and load the checkpoint."
    if _PLAIN_PYTHON.search(name):
        return "There are no graphs to run and no sessions: use plain Python."
    if name == "Variable":
        return "Use tf.get_variable."
    if re.search(r"GRU|RNNCell|Cell$|^Cudnn", name):
        return "It has LSTM cells only: write other cells as a subclass of tf.nn.rnn_cell.RNNCell."
    if hasattr(np, array_function):
        return f"Use NumPy for other array functions: numpy.{array_function} is one."
    return "Use NumPy for other array functions, and plain Python or your own code for the rest."
