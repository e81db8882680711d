"""``tf.nn``: unrolling functions, activations, and ``tf.nn.rnn_cell``."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import activations
from lstmcore.activations import elu as elu
from lstmcore.activations import leaky_relu as leaky_relu
from lstmcore.activations import relu as relu
from lstmcore.activations import relu6 as relu6
from lstmcore.activations import selu as selu
from lstmcore.activations import sigmoid as sigmoid
from lstmcore.activations import silu as silu
from lstmcore.activations import softplus as softplus
from lstmcore.activations import softsign as softsign
from lstmcore.activations import tanh as tanh
from lstmcore.arrays import Array
from lstmcore.rnn.dynamic import bidirectional_dynamic_rnn as bidirectional_dynamic_rnn
from lstmcore.rnn.dynamic import dynamic_rnn as dynamic_rnn
from lstmcore.rnn.static import static_bidirectional_rnn as static_bidirectional_rnn
from lstmcore.rnn.static import static_rnn as static_rnn
from lstmcore.tf.arithmetic import add as _add
from lstmcore.tf.arithmetic import matmul as _matmul
from lstmcore.tf.arrays import check_indices as _check_indices
from lstmcore.tf.arrays import convert_to_tensor as _convert
from lstmcore.tf.keywords import renamed as _renamed
from lstmcore.tf.missing import missing_name as _missing_name
from lstmcore.tf.nn import rnn_cell as rnn_cell
from lstmcore.variables.variable import PartitionedVariable as _PartitionedVariable

swish = silu


def softmax(
    logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Array:
    """Over ``axis``, the last unless given."""
    return _over_axis(activations.softmax, logits, _renamed("axis", axis, "dim", dim))


def log_softmax(
    logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Array:
    """Over ``axis``, the last unless given."""
    return _over_axis(activations.log_softmax, logits, _renamed("axis", axis, "dim", dim))


def _over_axis(function: Any, logits: Any, axis: int | None) -> Array:
    array = np.moveaxis(_convert(logits), -1 if axis is None else axis, -1)
    return np.moveaxis(function(array), -1, -1 if axis is None else axis)


def bias_add(value: Any, bias: Any, name: str | None = None) -> Any:
    return _add(value, bias)


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Any:
    return _add(_matmul(x, weights), biases)


def dropout(
    x: Any,
    keep_prob: Any = None,
    noise_shape: Any = None,
    seed: int | None = None,
    name: str | None = None,
    rate: Any = None,
) -> Array:
    """``x`` itself: nothing is dropped when a trained model runs."""
    return _convert(x)


def embedding_lookup(
    params: Any, ids: Any, partition_strategy: str = "mod", name: str | None = None
) -> Array:
    """Rows of ``params`` [words, width] for integers ``ids`` of any shape.

    Several ``params`` (a list, or a partitioned variable) share the rows out as
    ``partition_strategy`` says: "mod" deals them in turn, "div" gives each a run of them.
    Raises InvalidArgumentError, naming it, for an id below 0 or past the end.
    """
    if partition_strategy not in ("mod", "div"):
        raise ValueError(f"Unrecognized partition strategy: {partition_strategy}")
    several = isinstance(params, (list, tuple, _PartitionedVariable))
    tables = [_convert(table) for table in (params if several else [params])]
    rows, wanted = [len(table) for table in tables], np.asarray(ids)
    _check_indices(wanted, sum(rows))
    if partition_strategy == "mod":
        starts = np.concatenate([[0], np.cumsum(rows)[:-1]])
        wanted = starts[wanted % len(rows)] + wanted // len(rows)
    joined = tables[0] if len(tables) == 1 else np.concatenate(tables)
    return np.take(joined, wanted.astype(np.int64), 0)


def __getattr__(name: str) -> Any:
    raise _missing_name("tf.nn", name)
