"""The cells of ``tf.contrib.rnn`` that ran TensorFlow's fused block operations (TF 1.15).

They compute in float32 only, like those operations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import dtypes
from lstmcore.arrays import Array, as_array, as_kernel_array, as_number, as_size
from lstmcore.cells.lstm_arguments import checked_inputs, unpacked_state
from lstmcore.cells.lstm_base import LSTMCellBase
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.errors import InvalidArgumentError
from lstmcore.layers.input_spec import InputSpec, last_dimension
from lstmcore.layers.layer import Layer
from lstmcore.layers.scoped_build import ScopedBuild
from lstmcore.placement import Placement, name_of, placement, stand_ins
from lstmcore.rnn import checks
from lstmcore.variables.variable_scope import VariableScope


class LSTMBlockCell(LSTMCellBase):
    """The LSTM cell on variables named like those of ``LSTMCell`` (Zaremba et al. 2014).

    Args:
        num_units: int >= 0, the number of units.
        forget_bias: added to the forget gate at every step; not part of the bias variable.
        cell_clip: clips the new cell state to [-cell_clip, cell_clip]; None, 0 and less do not.
        use_peephole: adds diagonal connections from the cell state to the gates.
        dtype: float32 or None.
        reuse: True shares existing variables, ``AUTO_REUSE`` shares or creates.
        name: name of the layer and of its scope; the default makes checkpoints of ``LSTMCell`` fit.
        device, device_dtype, math: as in ``BasicLSTMCell``.

    For checkpoints trained with CudnnLSTM use ``CudnnCompatibleLSTMCell``.
    """

    _peephole_names = ("w_i_diag", "w_f_diag", "w_o_diag")

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
        use_peephole: bool = False,
        dtype: Any = None,
        reuse: Any = None,
        name: str | None = "lstm_cell",
        *,
        device: str | None = None,
        device_dtype: str | None = None,
        math: str = "ieee",
    ) -> None:
        if dtype is not None:
            _check_float(dtypes.as_compute_dtype(dtype), "dtype")
        super().__init__(
            num_units,
            forget_bias=forget_bias,
            cell_clip=_active_clip(cell_clip),
            use_peepholes=use_peephole,
            dtype=dtype,
            name=name,
            device=device,
            device_dtype=device_dtype,
            math=math,
            _reuse=reuse,
        )

    def build(self, inputs_shape: Any) -> None:
        """Creates kernel [I+H, 4H], bias [4H] and with peepholes w_i_diag, w_f_diag, w_o_diag [H].

        Raises ValueError for a depth that is unknown or 0, InvalidArgumentError for float64.
        """
        if self._dtype is not None:
            _check_float(self._dtype, "inputs")
        _check_depth(inputs_shape, axis=1)
        super().build(inputs_shape)

    def _checked(self, inputs: Any, state: Any, kernel: Any) -> tuple[Array, Array, Array]:
        array = as_array(inputs, "inputs")
        if not hasattr(state, "__len__") or len(state) != 2:
            raise ValueError(
                f"Expecting state to be a tuple with length 2. Received {_brief(state)}"
            )
        x = checked_inputs(array, kernel, self.name, InputSpec(ndim=2))
        if x.shape[1] + self._num_units != kernel.shape[0]:
            raise InvalidArgumentError(
                f"w.dim_size(0) != input_size + cell_size: {kernel.shape[0]} vs. "
                f"{x.shape[1] + self._num_units} (inputs have depth {x.shape[1]})"
            )
        c, h = unpacked_state(state, self._split_state, True)
        return x, *_block_state(c, h, x.shape[0], self._num_units)

    def get_config(self) -> dict[str, Any]:
        return {
            "num_units": self._num_units,
            "forget_bias": self._forget_bias,
            "cell_clip": self._cell_clip,
            "use_peephole": self._use_peepholes,
            "dtype": self.dtype,
            "reuse": self._reuse,
            "name": self.name,
            **self._device_arguments(),
        }


class CudnnCompatibleLSTMCell(LSTMBlockCell):
    """The cell for checkpoints trained with CudnnLSTM: forget bias 0, no clipping, no peepholes."""

    def __init__(
        self,
        num_units: int,
        reuse: Any = None,
        *,
        device: str | None = None,
        device_dtype: str | None = None,
        math: str = "ieee",
    ) -> None:
        super().__init__(
            num_units,
            forget_bias=0,
            cell_clip=None,
            use_peephole=False,
            reuse=reuse,
            name="cudnn_compatible_lstm_cell",
            device=device,
            device_dtype=device_dtype,
            math=math,
        )

    def get_config(self) -> dict[str, Any]:
        arguments = self._device_arguments()
        return {"num_units": self._num_units, "reuse": self._reuse, **arguments}


class LSTMBlockFusedCell(Layer):
    """``LSTMBlockCell`` over all time steps of time-major inputs; a layer, not an RNNCell.

    Args as for ``LSTMBlockCell``, in this class's order.
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
        use_peephole: bool = False,
        reuse: Any = None,
        dtype: Any = None,
        name: str | None = "lstm_fused_cell",
        *,
        device: str | None = None,
        device_dtype: str | None = None,
        math: str = "ieee",
    ) -> None:
        if dtype is not None:
            _check_float(dtypes.as_compute_dtype(dtype), "dtype")
        self._num_units = as_size(num_units, "num_units", minimum=0)
        as_number(forget_bias, "forget_bias")
        self._forget_bias = forget_bias
        self._cell_clip = _active_clip(cell_clip)
        self._use_peephole = use_peephole
        self._where = placement(device, device_dtype, math)
        super().__init__(name=name, dtype=dtype, _reuse=reuse)
        self.input_spec = InputSpec(ndim=3)

    @property
    def num_units(self) -> int:
        return self._num_units

    @property
    def device(self) -> str:
        """Where the layer computes: "cpu", or a GPU by the name ``cuda:N``."""
        return name_of(self._where)

    def build(self, input_shape: Any) -> None:
        """Creates the variables of ``LSTMBlockCell``, in this layer's scope.

        Raises ValueError for a depth that is unknown or 0, InvalidArgumentError for float64.
        """
        if self._dtype is not None:
            _check_float(self._dtype, "inputs")
        _check_depth(input_shape, axis=2)
        cell = LSTMBlockCell(
            self._num_units,
            self._forget_bias,
            self._cell_clip,
            self._use_peephole,
            reuse=self._reuse,
            name=self.name,
            **({} if self._where is None else self._where.as_arguments()),
        )
        # the cell's variables belong to this layer: same scope, same names
        cell._scope = self._set_scope()
        cell.trainable = self.trainable
        cell.build(last_dimension(input_shape))
        self._cell = cell
        for variable in cell.weights:
            self._track(variable)
        self.built = True

    def call(
        self,
        inputs: Any,
        initial_state: Any = None,
        dtype: Any = None,
        sequence_length: Any = None,
    ) -> tuple[Array, LSTMStateTuple]:
        """All time steps.

        Args:
            inputs: [T, N, I] float32 array.
            initial_state: (c, h), both [N, num_units]; None for zeros, with ``dtype`` given.
            dtype: float32, or None beside an ``initial_state``.
            sequence_length: N integers in 0..T. Past its length a row's outputs are 0, and its
                state stays; NaN in the padding does not matter (in TensorFlow it does).

        Returns (outputs [T, N, num_units], LSTMStateTuple of the state at each row's length).

        Raises ValueError where state and dtype are both missing, InvalidArgumentError for sizes.
        """
        if self._where is not None:
            return self._run_on_gpu(self._where, inputs, initial_state, dtype, sequence_length)
        x = checked_inputs(as_array(inputs, "inputs"), self._kernel, self.name, InputSpec(ndim=3))
        steps, rows, depth = x.shape
        if depth + self._num_units != self._kernel.shape[0]:
            raise InvalidArgumentError(
                f"w.dim_size(0) != input_size + cell_size: {self._kernel.shape[0]} vs. "
                f"{depth + self._num_units} (inputs have depth {depth})"
            )
        c, h = self._initial_state(initial_state, dtype, rows)
        lengths = checks.checked_lengths(sequence_length, rows, steps, bounded_axis=0)
        outputs, c, h = self._cell._native().forward(x, c, h, lengths, time_major=True)
        return outputs, LSTMStateTuple(c, h)

    def _run_on_gpu(
        self, where: Placement, inputs: Any, state: Any, dtype: Any, sequence_length: Any
    ) -> tuple[Any, LSTMStateTuple]:
        from lstmcore import gpu
        from lstmcore.cells import on_gpu

        if state is None:
            if dtype is None:
                raise ValueError("Either initial_state or dtype needs to be specified")
            _check_float(dtypes.as_compute_dtype(dtype), "dtype")
        steps, rows, _ = gpu.shape_of(inputs)
        given = gpu.integers_of(sequence_length, "sequence_length")
        lengths = checks.checked_lengths(given, rows, steps, bounded_axis=0)
        y, c, h = on_gpu.run(self._cell, where, inputs, state, lengths, time_major=True)
        return y, LSTMStateTuple(c, h)

    def _scoped_build(self, inputs: Any, scope: str | VariableScope | None = None) -> ScopedBuild:
        return super()._scoped_build(stand_ins(inputs, self._where), scope)

    @property
    def _kernel(self) -> Any:
        return self._cell._kernel

    def _initial_state(self, state: Any, dtype: Any, rows: int) -> tuple[Array, Array]:
        if state is None:
            if dtype is None:
                raise ValueError("Either initial_state or dtype needs to be specified")
            _check_float(dtypes.as_compute_dtype(dtype), "dtype")
            zeros = np.zeros((rows, self._num_units), np.float32)
            return zeros, zeros
        if not hasattr(state, "__len__") or len(state) != 2:
            raise ValueError(
                "Expecting initial_state to be a tuple with length 2 or None. "
                f"Received {_brief(state)}"
            )
        c, h = (as_array(part, "initial_state") for part in state)
        return _block_state(c, h, rows, self._num_units)

    def get_config(self) -> dict[str, Any]:
        return {
            "num_units": self._num_units,
            "forget_bias": self._forget_bias,
            "cell_clip": self._cell_clip,
            "use_peephole": self._use_peephole,
            "reuse": self._reuse,
            "dtype": self.dtype,
            "name": self.name,
            **({} if self._where is None else self._where.as_arguments()),
        }


def _active_clip(cell_clip: float | None) -> float | None:
    """TensorFlow's operation takes a number that clips where it is above 0."""
    if cell_clip is None or not as_number(cell_clip, "cell_clip") > 0:
        return None
    return cell_clip


def _check_float(dtype: np.dtype[Any], argument: str) -> None:
    if dtype != np.float32:
        raise InvalidArgumentError(
            "Value for attr 'T' of double is not in the list of allowed values: half, float "
            f"({argument} has dtype {dtype.name}; lstmcore runs float)"
        )


def _check_depth(shape: Any, *, axis: int) -> None:
    sizes = tuple(shape) if hasattr(shape, "__iter__") else (shape,)
    if not sizes or not sizes[-1]:
        raise ValueError(f"Expecting inputs_shape[{axis}] to be set: {shape}")


def _block_state(c: Array, h: Array, rows: int, num_units: int) -> tuple[Array, Array]:
    """c and h [N, num_units] in float32; raises InvalidArgumentError as the block operations do."""
    for part, name in ((c, "cs_prev"), (h, "h_prev")):
        if part.ndim != 2:
            raise InvalidArgumentError(f"{name}_tensor must be rank 2 but is rank {part.ndim}.")
        if part.shape[0] != rows:
            raise InvalidArgumentError(f"{name}.dims(0) != batch_size: {part.shape[0]} vs. {rows}")
        if part.shape[1] != num_units:
            raise InvalidArgumentError(
                f"{name}.dims(1) != cell_size: {part.shape[1]} vs. {num_units}"
            )
    return as_kernel_array(c, np.dtype(np.float32)), as_kernel_array(h, np.dtype(np.float32))


def _brief(state: Any) -> str:
    return (
        f"{type(state).__name__} of length {len(state)}"
        if hasattr(state, "__len__")
        else repr(state)
    )
