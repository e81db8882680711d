"""What all LSTM cells share: variables, packed weights, and calls of the native kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lstmcore import _core, activations, dtypes, nest, shared_state
from lstmcore.arrays import (
    Array,
    as_array,
    as_flag,
    as_kernel_array,
    as_number,
    as_size,
    check_sizes,
)
from lstmcore.cells import numpy_step
from lstmcore.cells.lstm_arguments import checked_inputs, checked_state, unpacked_state
from lstmcore.cells.rnn_cell import LayerRNNCell, LSTMStateTuple, RNNCell
from lstmcore.errors import is_refusal
from lstmcore.layers.input_spec import InputSpec, last_dimension
from lstmcore.layers.scoped_build import ScopedBuild
from lstmcore.placement import placement
from lstmcore.unwinding import unwound
from lstmcore.variables.variable_scope import VariableScope
from lstmcore.variables.variable_store import fixed_size_partitioner

if TYPE_CHECKING:
    from lstmcore.cells.on_gpu import CellOnGpu
    from lstmcore.gpu import Placement


class LSTMCellBase(LayerRNNCell):
    """An LSTM cell; subclasses choose the constructor's arguments and the config.

    Raises, at construction, TypeError or ValueError naming ``num_units``, ``num_proj``,
    ``forget_bias``, ``cell_clip``, ``proj_clip``, ``num_unit_shards``, ``num_proj_shards``,
    ``activation`` or ``dtype`` for values that no cell could be built with; for a ``device`` as
    ``placement``, and ValueError for options that only the CPU has.
    """

    _not_pickled = LayerRNNCell._not_pickled | {
        "_packed",
        "_weights_version",
        "_plain",
        "_direct",
        "_packed_on_gpu",
    }

    #: Order in which the peephole variables are created, which is their order in ``weights``.
    _peephole_names: tuple[str, ...] = ("w_f_diag", "w_i_diag", "w_o_diag")

    def __init__(
        self,
        num_units: int,
        *,
        forget_bias: float = 1.0,
        use_peepholes: bool = False,
        cell_clip: float | None = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: int | None = None,
        num_proj_shards: int | None = None,
        state_is_tuple: bool = True,
        activation: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        device: str | None = None,
        device_dtype: str | None = None,
        math: str = "ieee",
        **kwargs: Any,
    ) -> None:
        if dtype is not None:
            dtype = dtypes.as_compute_dtype(dtype)
        self._num_units = as_size(num_units, "num_units", minimum=0)
        # 0 would mean "no projection" for the sizes and "project to nothing" for the variables
        self._num_proj = None if num_proj is None else as_size(num_proj, "num_proj", minimum=1)
        self._num_unit_shards = _shards(num_unit_shards, "num_unit_shards")
        self._num_proj_shards = _shards(num_proj_shards, "num_proj_shards")
        as_number(forget_bias, "forget_bias")
        self._forget_bias = forget_bias
        self._cell_clip = _limit(cell_clip, "cell_clip")
        self._proj_clip = _limit(proj_clip, "proj_clip")
        self._use_peepholes = use_peepholes
        self._state_is_tuple = as_flag(state_is_tuple, "state_is_tuple")
        self._activation = activations.get(activation)
        self._initializer = initializer
        self._where = placement(device, device_dtype, math)
        if self._where is not None:
            self._check_for_gpu(self._where)
        super().__init__(dtype=dtype, **kwargs)
        self.input_spec = InputSpec(ndim=2)

    def _check_for_gpu(self, where: Placement) -> None:
        if self._activation.fused is None:
            raise ValueError(
                f"activation: {self._activation.name} is computed by NumPy, on the CPU; on "
                f"{where.device} it must be one of {', '.join(_core.fused_activations())}"
            )
        if not self._state_is_tuple:
            raise ValueError(f"state_is_tuple: must be True on {where.device}")

    @property
    def _placement(self) -> Placement | None:
        return self._where

    @property
    def device(self) -> str:
        """ "cpu", or the GPU that the cell computes on, such as "cuda:0"."""
        return "cpu" if self._where is None else self._where.device

    def _set_runtime_state(self) -> None:
        super()._set_runtime_state()
        self._packed: _core.Lstm | None = None
        self._weights_version = 0
        self._packed_on_gpu: CellOnGpu | None = None
        # ``_packed`` where calls with plain arrays may go to it as they are
        self._plain: _core.Lstm | None = None
        # its ``cell_step`` where ``call`` would do just that
        self._direct: Any = None

    @property
    def state_size(self) -> LSTMStateTuple | int:
        """``LSTMStateTuple(num_units, output_size)``, or their sum with a concatenated state."""
        sizes = LSTMStateTuple(self._num_units, self.output_size)
        return sizes if self._state_is_tuple else sum(sizes)

    @property
    def output_size(self) -> int:
        return self._num_units if self._num_proj is None else self._num_proj

    @property
    def packed_bytes(self) -> int:
        """Bytes of the packed weights, which calls read beside the variables; 0 until the first."""
        packed = self._packed
        return 0 if packed is None else packed.packed_bytes

    # Variables

    def build(self, inputs_shape: Any) -> None:
        """Creates the variables for inputs of depth ``inputs_shape[-1]`` (or an int, the depth).

        In creation order: kernel [I+P, 4H], bias [4H], with peepholes w_f_diag, w_i_diag, w_o_diag
        [H], with a projection projection/kernel [H, P]. The dtype is float32 where none was given.
        Raises ValueError for an unknown depth, for sizes that no memory could hold, and as
        ``get_variable``; MemoryError; there are no variables then.
        """
        self._all_or_nothing(self._make_variables, inputs_shape)

    def _make_variables(self, inputs_shape: Any) -> None:
        depth = last_dimension(inputs_shape)
        check_sizes(depth, self._num_units, self.output_size)
        self._dtype = dtypes.as_compute_dtype(self._dtype or dtypes.SUPPORTED[0], "inputs")
        units = self._num_units
        self._kernel = self.add_weight(
            "kernel",
            [depth + self.output_size, 4 * units],
            initializer=self._initializer,
            partitioner=self._partitioner(self._num_unit_shards),
        )
        self._bias = self.add_weight("bias", [4 * units], initializer="zeros")
        if self._use_peepholes:
            for name in self._peephole_names:
                diagonal = self.add_weight(name, [units], initializer=self._initializer)
                setattr(self, f"_{name}", diagonal)
        if self._num_proj is not None:
            self._proj_kernel = self.add_weight(
                "projection/kernel",
                [units, self._num_proj],
                initializer=self._initializer,
                partitioner=self._partitioner(self._num_proj_shards),
            )
        self._weights_changed()
        self.built = True

    @staticmethod
    def _partitioner(shards: int | None) -> Any:
        return None if shards is None else fixed_size_partitioner(shards)

    def _weights_changed(self) -> None:
        with shared_state.lock:
            self._weights_version += 1
            self._packed = self._plain = self._direct = self._packed_on_gpu = None

    def _step_weights(self) -> numpy_step.StepWeights:
        names = ("_kernel", "_bias", "_w_i_diag", "_w_f_diag", "_w_o_diag", "_proj_kernel")
        required = names[:2]
        arrays = []
        for name in names:
            variable = getattr(self, name) if name in required else getattr(self, name, None)
            array = None if variable is None else as_array(variable, name)
            arrays.append(array if array is None else as_kernel_array(array, self._kernel.dtype))
        return numpy_step.StepWeights(*arrays)  # type: ignore[arg-type]

    def _step_settings(self) -> numpy_step.StepSettings:
        limits = (self._cell_clip, self._proj_clip)
        numbers = (None if limit is None else float(limit) for limit in limits)
        return numpy_step.StepSettings(float(self._forget_bias), *numbers)

    def _native(self) -> _core.Lstm:
        """The packed weights, packed again after any of them was assigned.

        Weights assigned meanwhile by another thread are for the next call: a caller that waited
        for them might wait for ever. Raises AttributeError before the cell is built.
        """
        packed = self._packed
        if packed is None:
            with shared_state.lock:
                version, weights = self._weights_version, self._step_weights()
            packed = _core.Lstm(
                num_units=self._num_units,
                activation=self._activation.fused or "tanh",
                **weights._asdict(),
                **self._step_settings()._asdict(),
            )
            with shared_state.lock:
                if version == self._weights_version:
                    self._packed = packed
                    if self._state_is_tuple and self._activation.fused is not None:
                        self._plain = packed
                        if type(self).call is LSTMCellBase.call:
                            self._direct = packed.cell_step
        return packed

    def _on_gpu(self) -> CellOnGpu:
        """As ``_native``, on the cell's GPU. Raises as ``CellOnGpu``."""
        packed = self._packed_on_gpu
        if packed is None:
            from lstmcore.cells.on_gpu import CellOnGpu

            assert self._where is not None
            with shared_state.lock:
                version, weights = self._weights_version, self._step_weights()
            packed = CellOnGpu(
                self._where,
                self._num_units,
                self._activation.fused or "tanh",
                self._step_settings(),
                weights,
            )
            with shared_state.lock:
                if version == self._weights_version:
                    self._packed_on_gpu = packed
        return packed

    # One time step

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *, out: Any = None) -> Any:
        """One time step; builds the cell first. See :meth:`call`.

        ``out`` is a pair of arrays (c [N, num_units], h [N, output_size]) that the new state is
        written to and returned in; c may be that of ``state``. Raises ValueError where they are
        not writable arrays of that shape, C-contiguous and in the cell's dtype, or share memory
        with an input, TypeError for ``out`` with a cell whose ``state_is_tuple`` is False, that is
        on a GPU or whose class has a ``call`` of its own.
        """
        if out is not None:
            return self._call_into(inputs, state, scope, out)
        direct = self._direct
        if direct is not None and self._initial_weights is None and self._is_noted():
            try:
                return direct(inputs, state, LSTMStateTuple)
            except (TypeError, ValueError) as error:
                if not is_refusal(error):
                    raise
                # found out below: convert, or say what is wrong in TensorFlow's words
        return super().__call__(inputs, state, scope)

    @unwound
    def _call_into(self, inputs: Any, state: Any, scope: Any, out: Any) -> Any:
        if not self._state_is_tuple or type(self).call is not LSTMCellBase.call:
            raise TypeError("out: only for cells with state_is_tuple and no call of their own")
        if self._where is not None:
            raise TypeError(f"out: not of a cell on {self.device}")
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(f"out: expected a pair of arrays (c, h), received {type(out).__name__}")
        for part, name in zip(out, "ch", strict=True):
            if type(part) is not np.ndarray:
                raise TypeError(
                    f"out: expected NumPy arrays (c, h), received {type(part).__name__} for {name}"
                )
        if self._activation.fused is None:
            raise TypeError(
                f"out: not for the activation {self._activation.name}, computed by NumPy"
            )
        if not self.built:
            self._check_before_build(inputs, state)
        with self._scoped_build(inputs, scope):
            arguments = self._checked(inputs, state, self._kernel)
            c, h = out
            self._native().step(*arguments, out=h, state_out=c)
        return h, LSTMStateTuple(c, h)

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

            output, c, h = on_gpu.run(self, inputs, state, step=True)
            return output, LSTMStateTuple(c, h)
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
        return super()._scoped_build(self._on_host(inputs), scope)

    def _on_host(self, structure: Any) -> Any:
        """Where the cell is on a GPU, with stand-ins for the arrays there (``gpu.stand_in``)."""
        if self._where is None:
            return structure
        from lstmcore.gpu import stand_in

        return nest.map_structure(stand_in, structure)

    def _check_before_build(self, inputs: Any, state: Any) -> None:
        inputs, state = self._on_host(inputs), self._on_host(state)
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

    def _joined(self, c: Array, h: Array) -> LSTMStateTuple | Array:
        return LSTMStateTuple(c, h) if self._state_is_tuple else np.concatenate([c, h], axis=1)

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

    def plain_native(self) -> _core.Lstm | None:
        return self._plain if self._is_ready() else None

    def _run_sequence(
        self,
        inputs: Array,
        state: Any,
        lengths: Array | None,
        *,
        time_major: bool,
        reverse: bool = False,
    ) -> tuple[Any, LSTMStateTuple | Array]:
        if self._where is not None:
            return self._run_on_gpu(inputs, state, lengths, time_major, reverse)
        batch = inputs.shape[1 if time_major else 0]
        step_shape = (batch, inputs.shape[2])
        first_step = np.broadcast_to(np.zeros((), inputs.dtype), step_shape)
        if not self.built:
            self._check_before_build(first_step, state)
        with self._scoped_build(first_step):
            parts = unpacked_state(state, self._split_state, self._state_is_tuple)
            x = checked_inputs(inputs, self._kernel, self.name, InputSpec(ndim=3))
            c, h = checked_state(parts, step_shape, self._kernel, self._num_units, self.output_size)
            y, c, h = self._native().forward(
                x, c, h, lengths, time_major=time_major, reverse=reverse
            )
        return y, self._joined(c, h)

    def _run_on_gpu(
        self, inputs: Any, state: Any, lengths: Array | None, time_major: bool, reverse: bool
    ) -> tuple[Any, LSTMStateTuple]:
        from lstmcore import gpu
        from lstmcore.cells import on_gpu

        like = gpu.stand_in(inputs)
        first_step = np.broadcast_to(
            np.zeros((), like.dtype), (like.shape[1 if time_major else 0], like.shape[2])
        )
        if not self.built and state is not None:
            self._check_before_build(first_step, state)
        with self._scoped_build(first_step):
            y, c, h = on_gpu.run(
                self, inputs, state, lengths, time_major=time_major, reverse=reverse
            )
        return y, LSTMStateTuple(c, h)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._device_arguments()}

    def _device_arguments(self) -> dict[str, Any]:
        """Of the constructor, for ``get_config``."""
        return {} if self._where is None else self._where.as_arguments()

    def __repr__(self) -> str:
        facts = [f"num_units={self._num_units}"]
        if self._num_proj is not None:
            facts.append(f"num_proj={self._num_proj}")
        if self.built:
            facts.insert(0, f"input_size={self._kernel.shape[0] - self.output_size}")
        facts.append(f"dtype={self.dtype}")
        facts.append(f"activation={self._activation.name}")
        facts.append(f"forget_bias={self._forget_bias}")
        if self._use_peepholes:
            facts.append("use_peepholes=True")
        if self._cell_clip is not None:
            facts.append(f"cell_clip={self._cell_clip}")
        return f"<{type(self).__name__} '{self.name}' {' '.join(facts)} {self._storage()}>"

    def _storage(self) -> str:
        """How the weights are held, for ``repr``."""
        if not self.built:
            return "not built"
        size = f"weights={sum(variable.numpy().nbytes for variable in self.weights)} bytes"
        if self._where is not None:
            return f"device={self.device} {size}"
        if self._activation.fused is None:
            return f"computed by NumPy {size}"
        if self._packed is None:
            return f"isa={_core.info()['isa']} {size} not packed yet"
        return f"isa={self._packed.isa} {size} packed={self._packed.packed_bytes} bytes"


def _shards(value: Any, argument: str) -> int | None:
    if value is None:
        return None
    try:
        return as_size(value, argument, minimum=1)
    except ValueError as error:
        raise ValueError(f"{error}: Partitioner returned zero partitions for some axes") from None


def _limit(value: Any, argument: str) -> Any:
    if value is not None:
        as_number(value, argument)
    return value
