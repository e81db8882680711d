"""``tf.nn``: unrolling functions, activations, and ``tf.nn.rnn_cell``."""

from __future__ import annotations

from typing import Any

from lstmcore.activations import elu as elu
from lstmcore.activations import leaky_relu as leaky_relu
from lstmcore.activations import log_softmax as log_softmax
from lstmcore.activations import relu as relu
from lstmcore.activations import relu6 as relu6
from lstmcore.activations import selu as selu
from lstmcore.activations import sigmoid as sigmoid
from lstmcore.activations import silu as silu
from lstmcore.activations import softmax as softmax
from lstmcore.activations import softplus as softplus
from lstmcore.activations import softsign as softsign
from lstmcore.activations import tanh as tanh
from lstmcore.arrays import Array
from lstmcore.rnn.dynamic import bidirectional_dynamic_rnn as bidirectional_dynamic_rnn
from lstmcore.rnn.dynamic import dynamic_rnn as dynamic_rnn
from lstmcore.rnn.static import static_bidirectional_rnn as static_bidirectional_rnn
from lstmcore.rnn.static import static_rnn as static_rnn
from lstmcore.tf.arrays import add as _add
from lstmcore.tf.arrays import gather as _gather
from lstmcore.tf.arrays import matmul as _matmul
from lstmcore.tf.nn import rnn_cell as rnn_cell

swish = silu


def bias_add(value: Any, bias: Any, name: str | None = None) -> Any:
    return _add(value, bias)


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Any:
    return _add(_matmul(x, weights), biases)


def embedding_lookup(params: Any, ids: Any, name: str | None = None) -> Array:
    """Rows of ``params`` [words, width] for integers ``ids`` of any shape."""
    return _gather(params, ids)
