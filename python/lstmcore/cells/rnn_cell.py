"""RNNCell, the interface of every cell, and the state of LSTM cells.

TF API: ``tf.compat.v1.nn.rnn_cell.RNNCell``, ``LSTMStateTuple``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lstmcore import _core, dtypes
from lstmcore.arrays import Array, as_array
from lstmcore.cells.zero_state import zeros_like_structure
from lstmcore.layers.input_spec import checked_input
from lstmcore.layers.layer import Layer
from lstmcore.layers.scoped_build import CapturingBuild, ScopedBuild
from lstmcore.placement import Placement
from lstmcore.unwinding import unwound
from lstmcore.variables.variable_scope import VariableScope


class _LSTMStateTuple(NamedTuple):
    c: Any
    h: Any


class LSTMStateTuple(_LSTMStateTuple):
    """State of an LSTM cell: ``c`` [N, num_units], and the output ``h`` [N, output_size].

    A named tuple, equal to the plain tuple ``(c, h)``. Also used for the two sizes.
    """

    __slots__ = ()

    @property
    def dtype(self) -> Any:
        """The dtype of both parts. Raises TypeError where they differ."""
        if self.c.dtype != self.h.dtype:
            raise TypeError(
                f"Inconsistent dtypes for internal state: {self.c.dtype} vs {self.h.dtype}"
            )
        return self.c.dtype


class RNNCell(Layer):
    """What computes one time step: ``(output, new_state) = cell(inputs, state)``.

    Subclasses define ``state_size``, ``output_size`` and ``call(inputs, state)``. Variables that
    ``call`` or ``build`` take from ``get_variable`` become the cell's weights.
    """

    _not_pickled = Layer._not_pickled | {"_outer"}
    _set_by_first_use = (*Layer._set_by_first_use, "_outer")

    def _set_runtime_state(self) -> None:
        super()._set_runtime_state()
        self._outer: VariableScope | None = None

    @property
    def state_size(self) -> Any:
        """Size of the state, an int, a shape, or a nested structure of them."""
        raise NotImplementedError("Abstract method")

    @property
    def output_size(self) -> Any:
        """Width of the output."""
        raise NotImplementedError("Abstract method")

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        """One time step.

        Args:
            inputs: [N, input depth] array, or what the subclass takes.
            state: arrays of the structure of ``state_size``, [N, size] each.
            scope: name or ``VariableScope`` for the variables, used verbatim at the first call.

        Returns (output [N, output_size], new state).
        """
        return super().__call__(inputs, state, scope=scope)

    def _call_in_scope(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        with self._scoped_build(inputs, scope) as entered:
            if self._call_takes_scope:
                return self.call(inputs, state, scope=entered)
            return self.call(inputs, state)

    def _scoped_build(self, inputs: Any, scope: str | VariableScope | None = None) -> ScopedBuild:
        """As for every layer, inside the scope of the first call, so that variables are noticed."""
        if self.input_spec is not None:
            inputs = checked_input(self.input_spec, inputs, self.name)
        return CapturingBuild(self, inputs, scope)

    def _check_before_build(self, inputs: Any, state: Any) -> None:
        """Raises for a state [N, ...] that no variables could make fit inputs [N, I].

        Called before variables are made, so that a refused first call leaves none. Cells that know
        their sizes override it.
        """

    def _tracking_getter(self, getter: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        variable = getter(*args, **kwargs)
        self._track(variable)
        return variable

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """Zeros of shape [batch_size, size] in the structure of ``state_size``; new at every call.

        Args:
            batch_size: an int, or a vector of leading dimensions.
            dtype: any NumPy type.

        Raises TypeError for a ``batch_size`` or ``dtype`` of the wrong type, ValueError for a
        negative size, None or an array of more than one dimension.
        """
        return zeros_like_structure(self.state_size, batch_size, dtypes.as_dtype(dtype))

    def get_initial_state(
        self, inputs: Any = None, batch_size: Any = None, dtype: Any = None
    ) -> Any:
        """``zero_state`` for the batch size and dtype of ``inputs``, or for the two given.

        Raises ValueError where they disagree with ``inputs`` or are missing without it.
        """
        if inputs is not None:
            array = np.asarray(inputs) if isinstance(inputs, list) else as_array(inputs, "inputs")
            batch_size, dtype = _agreed(array, batch_size, dtype)
        if batch_size is None or dtype is None:
            raise ValueError(
                "batch_size and dtype cannot be None while constructing initial state: "
                f"batch_size={batch_size}, dtype={dtype}"
            )
        return self.zero_state(batch_size, dtype)

    # The seam for running whole sequences

    @property
    def _placement(self) -> Placement | None:
        """The GPU that the cell computes on; None for the CPU."""
        return None

    @property
    def _starts_at_zero(self) -> bool:
        """Whether its initial state is known to be zeros, which need not be made on a GPU."""
        return False

    @property
    def _native_sequence(self) -> bool:
        """Whether ``_run_sequence`` exists; otherwise callers loop over the time steps."""
        return False

    def plain_native(self) -> _core.Lstm | None:
        """The packed weights, if plain arrays and (c, h) may go to them as they are; else None."""
        return None

    def _run_sequence(
        self,
        inputs: Array,
        state: Any,
        lengths: Array | None,
        *,
        where: Placement | None,
        time_major: bool,
        reverse: bool = False,
    ) -> tuple[Any, Any]:
        """All time steps at once: (outputs, final state), for cells with ``_native_sequence``.

        Args:
            inputs: [N, T, I], or [T, N, I] if ``time_major``; C-contiguous, or on the GPU.
            state: None for zeros, on a GPU only.
            where: the GPU to run on, whatever the cell's own device is; None for the CPU.
            lengths: int64 [N] in 0..T, or None for T everywhere. Past its length a row's outputs
                are 0 and its state stays.
            reverse: run each row backwards inside its length; outputs keep their positions.
        """
        raise NotImplementedError(f"{type(self).__name__} runs step by step")


class LayerRNNCell(RNNCell):
    """A cell whose variables are all made by ``build``: ``call`` needs no scope of its own."""

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        spec = self.input_spec
        ready = self.built and self._initial_weights is None
        if ready and spec and type(inputs) is np.ndarray and inputs.ndim == spec.ndim:
            self._note_open()
            return self.call(inputs, state)
        return self._call_and_build(inputs, state, scope)

    @unwound
    def _call_and_build(self, inputs: Any, state: Any, scope: Any) -> Any:
        if not self.built:
            self._check_before_build(inputs, state)
        with self._scoped_build(inputs, scope):
            return self.call(inputs, state)

    def _scoped_build(self, inputs: Any, scope: str | VariableScope | None = None) -> ScopedBuild:
        return Layer._scoped_build(self, inputs, scope)


def _agreed(inputs: Array, batch_size: Any, dtype: Any) -> tuple[int, Any]:
    """Batch size and dtype of ``inputs``, which those given must equal."""
    batch = inputs.shape[0]
    if batch_size is not None and batch_size != batch:
        raise ValueError(
            "batch size from input tensor is different from the input param. "
            f"Input tensor batch: {batch}, batch_size: {batch_size}"
        )
    if dtype is not None and inputs.dtype != dtypes.as_dtype(dtype):
        raise ValueError(
            "dtype from input tensor is different from the input param. "
            f"Input tensor dtype: {dtypes.describe(inputs.dtype)}, dtype: {dtype}"
        )
    return batch, inputs.dtype
