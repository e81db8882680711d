"""Dropout around a cell, at inference (TF API: ``tf.compat.v1.nn.rnn_cell.DropoutWrapper``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import dtypes
from lstmcore.cells.cell_wrapper import CellWrapper


class DropoutWrapper(CellWrapper):
    """A cell trained with dropout, which does nothing at inference: results are those of ``cell``.

    TensorFlow's class drops values whenever it is called; code for inference therefore passes keep
    probabilities of 1.0. Here they are checked and otherwise without effect.

    Args:
        cell: the cell.
        input_keep_prob, output_keep_prob, state_keep_prob: numbers above 0, up to 1.
        variational_recurrent: one mask for all time steps; needs ``dtype``, and ``input_size``
            where ``input_keep_prob`` is below 1.
        input_size, dtype, seed: what the masks of TensorFlow's class are made from.
        dropout_state_filter_visitor: callable that chooses the parts of the state to drop.

    Raises ValueError for keep probabilities out of range, or a missing ``dtype`` or ``input_size``;
    TypeError for what is no cell, no number or not callable.
    """

    def __init__(
        self,
        cell: Any,
        input_keep_prob: Any = 1.0,
        output_keep_prob: Any = 1.0,
        state_keep_prob: Any = 1.0,
        variational_recurrent: bool = False,
        input_size: Any = None,
        dtype: Any = None,
        seed: int | None = None,
        dropout_state_filter_visitor: Any = None,
        **kwargs: Any,
    ) -> None:
        if dropout_state_filter_visitor is not None and not callable(dropout_state_filter_visitor):
            raise TypeError(
                "dropout_state_filter_visitor must be callable. "
                f"Received: {dropout_state_filter_visitor}"
            )
        input_keep_prob = _probability(input_keep_prob, "input_keep_prob")
        state_keep_prob = _probability(state_keep_prob, "state_keep_prob")
        output_keep_prob = _probability(output_keep_prob, "output_keep_prob")
        if dtype is not None:
            dtypes.as_dtype(dtype)
        if variational_recurrent:
            _check_variational(dtype, input_size, input_keep_prob)
        super().__init__(cell, dtype=dtype, **kwargs)
        self._input_keep_prob = input_keep_prob
        self._output_keep_prob = output_keep_prob
        self._state_keep_prob = state_keep_prob
        self._variational_recurrent = variational_recurrent
        self._input_size = input_size
        self._seed = seed
        self._dropout_state_filter = dropout_state_filter_visitor

    @property
    def wrapped_cell(self) -> Any:
        return self.cell

    def get_config(self) -> dict[str, Any]:
        """Like every wrapper's; a state filter stands in it as the function object."""
        config = {
            **super().get_config(),
            "input_keep_prob": self._input_keep_prob,
            "output_keep_prob": self._output_keep_prob,
            "state_keep_prob": self._state_keep_prob,
            "variational_recurrent": self._variational_recurrent,
            "input_size": self._input_size,
            "seed": self._seed,
        }
        if self._dropout_state_filter is not None:
            config["dropout_state_filter_visitor"] = self._dropout_state_filter
        return config


def _probability(value: Any, argument: str) -> float:
    """``value`` as a float in (0, 1]; an array of one element counts as its element."""
    if value is None:
        raise ValueError(f"Parameter {argument} must be between 0 and 1. Received {value}")
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"Parameter {argument} must be a number. Received {value!r}")
    if array.size != 1:
        raise ValueError(f"Parameter {argument} must be one number. Received {value!r}")
    probability = float(array.reshape(()))
    if not 0 <= probability <= 1:
        raise ValueError(f"Parameter {argument} must be between 0 and 1. Received {value}")
    if probability == 0:
        raise ValueError(
            "`rate` must be a scalar tensor or a float in the range [0, 1). Received: rate=1.0 "
            f"({argument} must be above 0. Received {value})"
        )
    return probability


def _check_variational(dtype: Any, input_size: Any, input_keep_prob: float) -> None:
    if dtype is None:
        raise ValueError("When variational_recurrent=True, dtype must be provided")
    if input_keep_prob < 1.0 and input_size is None:
        raise ValueError(
            "When variational_recurrent=True and input_keep_prob < 1.0 or is unknown, input_size "
            "must be provided"
        )
