"""The two cells of TF1: BasicLSTMCell and LSTMCell.

TF API: ``tf.compat.v1.nn.rnn_cell.BasicLSTMCell`` and ``LSTMCell``, which
``tf.contrib.rnn`` offers under the same names. Arguments, variables and results are theirs.
"""

from __future__ import annotations

import logging
from typing import Any

from lstmcore import activations
from lstmcore.arrays import Array
from lstmcore.cells.lstm_arguments import halved_state, sliced_state
from lstmcore.cells.lstm_base import LSTMCellBase
from lstmcore.variables import initializers

_log = logging.getLogger("lstmcore")


class BasicLSTMCell(LSTMCellBase):
    """The LSTM cell without peepholes, clipping and projection (Zaremba et al. 2014).

    Args:
        num_units: int >= 0, the number of units.
        forget_bias: added to the forget gate at every step; not part of the bias variable. Must be
            0.0 for checkpoints trained with CudnnLSTM.
        state_is_tuple: False takes and returns one array [N, 2 * num_units] instead of (c, h), and
            logs a warning on the logger "lstmcore".
        activation: Keras name or callable on [N, num_units] arrays, for the candidate and the
            output; default tanh.
        reuse: True shares existing variables, ``AUTO_REUSE`` shares or creates.
        name: name of the layer and of the scope of its variables.
        dtype: float32 or float64; None takes that of the first inputs.
        device: "cuda", "cuda:N" or "auto" (a GPU where there is one) to compute there: inputs and
            states may then be arrays on that GPU, which are not copied, and NumPy arrays, which
            are; the results are where the inputs are. None and "cpu": on the CPU.
        device_dtype: of weights, inputs and outputs on the GPU: "float16", "bfloat16", "float32" or
            "float64"; None: that of the weights. Sums and c are float32 (float64 with float64).
        math: of float32 products there: "ieee", "tf32" or "tf32x3", as ``LSTM.to`` has them.
        **kwargs: ``trainable``, ``weights``, and Keras layer arguments without meaning here.
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        *,
        device: str | None = None,
        device_dtype: str | None = None,
        math: str = "ieee",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_units,
            forget_bias=forget_bias,
            state_is_tuple=state_is_tuple,
            activation=activation,
            name=name,
            dtype=dtype,
            device=device,
            device_dtype=device_dtype,
            math=math,
            **_layer_arguments(reuse, kwargs),
        )
        if not state_is_tuple:
            _warn_concatenated(self)

    def _split_state(self, state: Array) -> tuple[Array, Array]:
        return halved_state(state)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_units": self._num_units,
            "forget_bias": self._forget_bias,
            "state_is_tuple": self._state_is_tuple,
            "activation": activations.serialize(self._activation),
            "reuse": self._reuse,
        }


class LSTMCell(LSTMCellBase):
    """The full LSTM cell: peepholes (Gers et al. 2002), projection (Sak et al. 2014), clipping.

    Args:
        num_units: int >= 0, the number of units.
        use_peepholes: adds diagonal connections from the cell state to the three gates.
        cell_clip: clips the new cell state to [-cell_clip, cell_clip] before the output.
        initializer: name, object or callable ``(shape, dtype)`` for all variables but the bias.
        num_proj: int >= 1, width of the projected output; None for no projection.
        proj_clip: clips the projected output likewise; no effect without ``num_proj``.
        num_unit_shards, num_proj_shards: number of parts to store the kernel and the projection
            kernel in (``kernel/part_0``, ...); a warning is logged on the logger "lstmcore".
        state_is_tuple: as in ``BasicLSTMCell``; the concatenated state is
            [N, num_units + output width].
        forget_bias, activation, reuse, name, dtype, device, device_dtype, math: as in
            ``BasicLSTMCell``.
        **kwargs: as in ``BasicLSTMCell``.
    """

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        cell_clip: float | None = None,
        initializer: Any = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: int | None = None,
        num_proj_shards: int | None = None,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        *,
        device: str | None = None,
        device_dtype: str | None = None,
        math: str = "ieee",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_units,
            use_peepholes=use_peepholes,
            cell_clip=cell_clip,
            initializer=initializers.get(initializer),
            num_proj=num_proj,
            proj_clip=proj_clip,
            num_unit_shards=num_unit_shards,
            num_proj_shards=num_proj_shards,
            forget_bias=forget_bias,
            state_is_tuple=state_is_tuple,
            activation=activation,
            name=name,
            dtype=dtype,
            device=device,
            device_dtype=device_dtype,
            math=math,
            **_layer_arguments(reuse, kwargs),
        )
        if not state_is_tuple:
            _warn_concatenated(self)
        if num_unit_shards is not None or num_proj_shards is not None:
            _log.warning(
                "%s: The num_unit_shards and proj_unit_shards parameters are deprecated and will "
                "be removed in Jan 2017.  Use a variable scope with a partitioner instead.",
                self,
            )

    def _split_state(self, state: Array) -> tuple[Array, Array]:
        return sliced_state(state, self._num_units, self.output_size)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_units": self._num_units,
            "use_peepholes": self._use_peepholes,
            "cell_clip": self._cell_clip,
            "initializer": initializers.serialize(self._initializer),
            "num_proj": self._num_proj,
            "proj_clip": self._proj_clip,
            "num_unit_shards": self._num_unit_shards,
            "num_proj_shards": self._num_proj_shards,
            "forget_bias": self._forget_bias,
            "state_is_tuple": self._state_is_tuple,
            "activation": activations.serialize(self._activation),
            "reuse": self._reuse,
        }


def _layer_arguments(reuse: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """``kwargs`` of a constructor for the layer; the base's own keywords are not the caller's."""
    for key in kwargs:
        if key in _BASE_KEYWORDS:
            raise TypeError("Keyword argument not understood:", key)
    return {**kwargs, "_reuse": reuse}


_BASE_KEYWORDS = frozenset(LSTMCellBase.__init__.__kwdefaults__ or ())


def _warn_concatenated(cell: LSTMCellBase) -> None:
    _log.warning(
        "%s: Using a concatenated state is slower and will soon be deprecated.  "
        "Use state_is_tuple=True.",
        cell,
    )
