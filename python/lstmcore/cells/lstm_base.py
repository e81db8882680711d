"""What all LSTM cells do: one time step or all of them, in one call of the native kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import _core, dtypes, shared_state
from lstmcore.arrays import Array, as_array, check_sizes
from lstmcore.cells import numpy_step
from lstmcore.cells.lstm_arguments import checked_inputs, checked_state, unpacked_state
from lstmcore.cells.lstm_weights import LSTMWeights
from lstmcore.cells.rnn_cell import LSTMStateTuple, RNNCell
from lstmcore.errors import is_refusal
from lstmcore.layers.input_spec import InputSpec
from lstmcore.layers.scoped_build import ScopedBuild
from lstmcore.placement import Placement, stand_ins
from lstmcore.unwinding import unwound
from lstmcore.variables.variable_scope import VariableScope

OUT_NAMES = ("out[0] (c)", "out[1] (h)")


class LSTMCellBase(LSTMWeights):
    """An LSTM cell; subclasses choose the constructor's arguments and the config."""

    # One time step

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *, out: Any = None) -> Any:
        """One time step; builds the cell first. See :meth:`call`.

        ``out`` is a pair of arrays (c [N, num_units], h [N, output_size]) that the new state is
        written to and returned in; c may be that of ``state``. On a GPU they are where ``inputs``
        are, c in the dtype of cell states there, and with all arrays on the GPU nothing is
        allocated. Raises ValueError and TypeError that name ``out[0] (c)`` or ``out[1] (h)`` where
        they are not writable arrays of that shape and dtype, C-contiguous, or share memory with an
        input; TypeError for ``out`` with a cell whose ``state_is_tuple`` is False, whose activation
        has no kernel, or whose class has a ``call`` of its own.
        """
        direct = self._direct
        if direct is not None and self._initial_weights is None and self._is_noted():
            try:
                if out is None:
                    return direct(inputs, state, LSTMStateTuple)
                return direct(inputs, state, LSTMStateTuple, out)
            except (TypeError, ValueError) as error:
                if not is_refusal(error):
                    raise
                # found out below: convert, or say what is wrong in TensorFlow's words
        if out is not None:
            return self._call_into(inputs, state, scope, out)
        return super().__call__(inputs, state, scope)

    @unwound
    def _call_into(self, inputs: Any, state: Any, scope: Any, out: Any) -> Any:
        if not self._state_is_tuple or type(self).call is not LSTMCellBase.call:
            raise TypeError("out: only for cells with state_is_tuple and no call of their own")
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(f"out: expected a pair of arrays (c, h), received {type(out).__name__}")
        if self._activation.fused is None:
            raise TypeError(
                f"out: not for the activation {self._activation.name}, computed by NumPy"
            )
        if not self.built:
            self._check_before_build(inputs, state)
        with self._scoped_build(inputs, scope):
            if self._where is not None:
                from lstmcore.cells import on_gpu

                _, c, h = on_gpu.run(self, self._where, inputs, state, step=True, out=out)
                return h, LSTMStateTuple(c, h)
            for part, name in zip(out, OUT_NAMES, strict=True):
                if type(part) is not np.ndarray:
                    raise TypeError(
                        f"{name}: expected a NumPy array, received {type(part).__name__}"
                    )
            x, c, h = self._checked(inputs, state, self._kernel)
            return self._native().cell_step(x, (c, h), LSTMStateTuple, out)

    def call(self, inputs: Any, state: Any) -> Any:
        """One time step of a cell that is built; calling the cell builds it first.

        Args:
            inputs: [N, I] array of float32 or float64.
            state: ``LSTMStateTuple``, or any two arrays c [N, num_units] and h [N, output_size]; a
                c that broadcasts to its shape will do. With ``state_is_tuple=False`` one array
                [N, num_units + output_size]. States take the dtype of ``inputs``.

        Returns (output [N, output_size], new state); with a tuple the output is the new ``h``.

        Raises ValueError for a wrong rank or integers, TypeError for a dtype without a kernel,
        InvalidArgumentError (a ValueError) for shapes or dtypes that do not fit together.
        """
        plain = self._plain
        if plain is not None:
            try:
                return plain.cell_step(inputs, state, LSTMStateTuple)
            except (TypeError, ValueError) as error:
                if not is_refusal(error):
                    raise
        if self._where is not None:
            from lstmcore.cells import on_gpu

            output, c, h = on_gpu.run(self, self._where, inputs, state, step=True)
            return output, self._joined(c, h)
        if self._activation.fused is None:
            return self._numpy_call(inputs, state)
        native = self._native()
        c, h = native.step(*self._checked(inputs, state, self._kernel))
        return h, self._joined(c, h)

    def _numpy_call(self, inputs: Any, state: Any) -> Any:
        with shared_state.lock:
            weights = self._step_weights()
        arguments = self._checked(inputs, state, self._kernel)
        c, h = numpy_step.step(
            weights, self._step_settings(), self._activation.function, *arguments
        )
        return h, self._joined(c, h)

    def _scoped_build(self, inputs: Any, scope: str | VariableScope | None = None) -> ScopedBuild:
        return super()._scoped_build(stand_ins(inputs, self._where), scope)

    def _check_before_build(self, inputs: Any, state: Any) -> None:
        inputs, state = stand_ins((inputs, state), self._where)
        x = as_array(inputs, "inputs") if hasattr(inputs, "shape") else None
        dtype = self._dtype if x is None or self._dtype is not None else x.dtype.newbyteorder("=")
        if self.built or x is None or x.ndim != 2 or dtype not in dtypes.SUPPORTED:
            return  # refused, or checked, by what follows
        check_sizes(x.shape[1], self._num_units, self.output_size)
        shape = (x.shape[1] + self.output_size, 4 * self._num_units)
        self._checked(x, state, np.broadcast_to(np.zeros((), dtype), shape))

    def _checked(self, inputs: Any, state: Any, kernel: Any) -> tuple[Array, Array, Array]:
        """x [N, I], c [N, H] and h [N, P] as the kernels take them, or TensorFlow's errors."""
        array = as_array(inputs, "inputs")
        state = unpacked_state(state, self._split_state, self._state_is_tuple)
        x = checked_inputs(array, kernel, self.name, InputSpec(ndim=2))
        return x, *checked_state(state, x.shape, kernel, self._num_units, self.output_size)

    def _split_state(self, state: Array) -> tuple[Array, Array]:
        """c and h from a concatenated state [N, H + P]."""
        raise NotImplementedError

    def _joined(self, c: Any, h: Any) -> Any:
        if self._state_is_tuple:
            return LSTMStateTuple(c, h)
        if isinstance(c, np.ndarray):
            return np.concatenate([c, h], axis=1)
        from lstmcore import gpu

        return gpu.side_by_side([c, h])

    # All time steps

    @property
    def _native_sequence(self) -> bool:
        cls = type(self)
        own_step = cls.call is LSTMCellBase.call and cls.__call__ is LSTMCellBase.__call__
        return own_step and self._activation.fused is not None

    @property
    def _starts_at_zero(self) -> bool:
        cls = type(self)
        return (
            cls.zero_state is RNNCell.zero_state
            and cls.get_initial_state is RNNCell.get_initial_state
        )

    def _set_shortcuts(self, packed: _core.Lstm) -> None:
        if self._where is None and self._state_is_tuple and self._activation.fused is not None:
            self._plain = packed
            if type(self).call is LSTMCellBase.call:
                self._direct = packed.cell_step

    def plain_native(self) -> _core.Lstm | None:
        return self._plain if self._is_ready() else None

    def _run_sequence(
        self,
        inputs: Any,
        state: Any,
        lengths: Array | None,
        *,
        where: Placement | None,
        time_major: bool,
        reverse: bool = False,
    ) -> tuple[Any, Any]:
        like = stand_ins(inputs, where)
        step_shape = (like.shape[1 if time_major else 0], like.shape[2])
        first_step = np.broadcast_to(np.zeros((), like.dtype), step_shape)
        if not self.built and state is not None:
            self._check_before_build(first_step, stand_ins(state, where))
        with self._scoped_build(first_step):
            if where is not None:
                from lstmcore.cells import on_gpu

                y, c, h = on_gpu.run(
                    self, where, inputs, state, lengths, time_major=time_major, reverse=reverse
                )
                return y, self._joined(c, h)
            parts = unpacked_state(state, self._split_state, self._state_is_tuple)
            x = checked_inputs(inputs, self._kernel, self.name, InputSpec(ndim=3))
            c, h = checked_state(parts, step_shape, self._kernel, self._num_units, self.output_size)
            y, c, h = self._native().forward(
                x, c, h, lengths, time_major=time_major, reverse=reverse
            )
        return y, self._joined(c, h)
