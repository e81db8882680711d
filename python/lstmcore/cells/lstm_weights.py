"""What all LSTM cells are made of: their arguments, variables and packed weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lstmcore import _core, activations, dtypes, shared_state
from lstmcore.arrays import as_array, as_flag, as_kernel_array, as_number, as_size, check_sizes
from lstmcore.cells import numpy_step
from lstmcore.cells.rnn_cell import LayerRNNCell, LSTMStateTuple
from lstmcore.layers.input_spec import InputSpec, last_dimension
from lstmcore.placement import Placement, name_of, placement
from lstmcore.variables.variable_store import fixed_size_partitioner

if TYPE_CHECKING:
    from lstmcore.cells.on_gpu import CellOnGpu


class LSTMWeights(LayerRNNCell):
    """An LSTM cell without its steps.

    Raises, at construction, TypeError or ValueError naming ``num_units``, ``num_proj``,
    ``forget_bias``, ``cell_clip``, ``proj_clip``, ``num_unit_shards``, ``num_proj_shards``,
    ``activation`` or ``dtype`` for values that no cell could be built with; for a ``device`` as
    ``placement``, and ValueError for an activation that only the CPU has.
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
        if self._where is not None and self._activation.fused is None:
            self._refuse_gpu(device, self._where)
            self._where = None
        super().__init__(dtype=dtype, **kwargs)
        self.input_spec = InputSpec(ndim=2)

    def _refuse_gpu(self, device: Any, where: Placement) -> None:
        if device != "auto":
            raise ValueError(
                f"activation: {self._activation.name} is computed by NumPy, on the CPU; on "
                f"{where.device} it must be one of {', '.join(_core.fused_activations())}"
            )

    @property
    def _placement(self) -> Placement | None:
        return self._where

    @property
    def device(self) -> str:
        """Where the cell computes: "cpu", or a GPU by the name ``cuda:N``."""
        return name_of(self._where)

    def _set_runtime_state(self) -> None:
        super()._set_runtime_state()
        self._packed: _core.Lstm | None = None
        self._weights_version = 0
        self._packed_on_gpu: dict[Placement, CellOnGpu] = {}
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
        with shared_state.lock:
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
            self._packed = self._plain = self._direct = None
            self._packed_on_gpu = {}

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
                    self._set_shortcuts(packed)
        return packed

    def _set_shortcuts(self, packed: _core.Lstm) -> None:
        """Says which calls may go to ``packed`` at once."""

    def _on_gpu(self, where: Placement) -> CellOnGpu:
        """As ``_native``, on a GPU: kept for each. Raises as ``CellOnGpu``."""
        packed = self._packed_on_gpu.get(where)
        if packed is None:
            from lstmcore.cells.on_gpu import CellOnGpu

            with shared_state.lock:
                kept, weights = self._packed_on_gpu, self._step_weights()
            packed = CellOnGpu(
                where,
                self._num_units,
                self._activation.fused or "tanh",
                self._step_settings(),
                weights,
            )
            # a dict that nobody sees any more if weights were assigned meanwhile
            kept[where] = packed
        return packed

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
