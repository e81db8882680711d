"""TensorFlow's LSTM cells without TensorFlow, over a fused native kernel.

Arrays go in and arrays come out, at once; names and sharing of variables follow TensorFlow's graph
mode. ``from lstmcore import tf`` is a namespace for source written for TensorFlow 1.
"""

import importlib
from typing import TYPE_CHECKING, Any

from lstmcore import raw_ops
from lstmcore._core import (
    __version__,
    get_num_threads,
    num_threads_reason,
    trim,
    workspace_bytes,
)
from lstmcore.cells.block_cells import CudnnCompatibleLSTMCell, LSTMBlockCell, LSTMBlockFusedCell
from lstmcore.cells.dropout_wrapper import DropoutWrapper
from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.cells.multi_rnn_cell import MultiRNNCell
from lstmcore.cells.rnn_cell import LSTMStateTuple, RNNCell
from lstmcore.cells.wrappers import DeviceWrapper, ResidualWrapper
from lstmcore.errors import (
    CheckpointError,
    DataLossError,
    InvalidArgumentError,
    LoadError,
    MissingExtra,
    NotFoundError,
    UnsafeFile,
)
from lstmcore.rnn.dynamic import (
    bidirectional_dynamic_rnn,
    dynamic_rnn,
    stack_bidirectional_dynamic_rnn,
)
from lstmcore.rnn.static import static_bidirectional_rnn, static_rnn
from lstmcore.thread_limits import register_threadpoolctl, set_num_threads, threads
from lstmcore.variables.graph import (
    Graph,
    get_default_graph,
    global_variables,
    reset_default_graph,
    trainable_variables,
)
from lstmcore.variables.variable import Variable
from lstmcore.variables.variable_scope import (
    AUTO_REUSE,
    VariableScope,
    get_variable,
    get_variable_scope,
    variable_scope,
)

if TYPE_CHECKING:
    from lstmcore.checkpoint import (
        CheckpointReader,
        cells_from_checkpoint,
        latest_checkpoint,
        list_variables,
        load_checkpoint,
        restore,
    )
    from lstmcore.formats import (
        load,
        open_models,
        save,
        to_keras,
        to_onnx,
        to_tensorflow,
        to_torch,
    )
    from lstmcore.models import LSTM
    from lstmcore.rnn.packed import packed_rnn
    from lstmcore.streams import Stream, StreamBank

__all__ = [
    "AUTO_REUSE",
    "LSTM",
    "BasicLSTMCell",
    "CheckpointError",
    "CheckpointReader",
    "CudnnCompatibleLSTMCell",
    "DataLossError",
    "DeviceWrapper",
    "DropoutWrapper",
    "Graph",
    "InvalidArgumentError",
    "LSTMBlockCell",
    "LSTMBlockFusedCell",
    "LSTMCell",
    "LSTMStateTuple",
    "LoadError",
    "MissingExtra",
    "MultiRNNCell",
    "NotFoundError",
    "RNNCell",
    "ResidualWrapper",
    "Stream",
    "StreamBank",
    "UnsafeFile",
    "Variable",
    "VariableScope",
    "__version__",
    "bidirectional_dynamic_rnn",
    "cells_from_checkpoint",
    "dynamic_rnn",
    "get_default_graph",
    "get_num_threads",
    "get_variable",
    "get_variable_scope",
    "global_variables",
    "latest_checkpoint",
    "list_variables",
    "load",
    "load_checkpoint",
    "num_threads_reason",
    "open_models",
    "packed_rnn",
    "raw_ops",
    "register_threadpoolctl",
    "reset_default_graph",
    "restore",
    "save",
    "set_num_threads",
    "stack_bidirectional_dynamic_rnn",
    "static_bidirectional_rnn",
    "static_rnn",
    "threads",
    "to_keras",
    "to_onnx",
    "to_tensorflow",
    "to_torch",
    "trainable_variables",
    "trim",
    "variable_scope",
    "workspace_bytes",
]


# Imported when first asked for: together they take as long as all the rest, and a serving process
# may use none of them.
_LATER = {
    "Stream": "streams",
    "StreamBank": "streams",
    "packed_rnn": "rnn.packed",
    "LSTM": "models",
    **dict.fromkeys(
        ("CheckpointReader", "cells_from_checkpoint", "latest_checkpoint"), "checkpoint"
    ),
    **dict.fromkeys(("list_variables", "load_checkpoint", "restore"), "checkpoint"),
    **dict.fromkeys(("load", "open_models", "save"), "formats"),
    **dict.fromkeys(("to_keras", "to_onnx", "to_tensorflow", "to_torch"), "formats"),
}


def __getattr__(name: str) -> Any:
    if name == "cuda":
        return importlib.import_module("lstmcore.cuda")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"lstmcore.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
