"""``LSTM``: a whole model, as Keras and PyTorch have it, over the same kernels as the cells."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmcore import dtypes
from lstmcore.arrays import Array, as_flag, as_size
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.models import arguments, stack_weights
from lstmcore.models.description import CellSpec, StackLayer, checked_layers, described
from lstmcore.models.on_cpu import CpuModel
from lstmcore.placement import Placement, placement

if TYPE_CHECKING:
    from lstmcore.models.on_cuda import CudaModel

State = tuple[LSTMStateTuple, ...]


class LSTM:
    """A stack of LSTM layers, of one direction or two.

    Args:
        input_size: I, the depth of the inputs.
        num_units: H of every layer and direction.
        num_layers: how many layers.
        bidirectional: a forward and a backward direction in every layer; each layer reads both
            outputs of the one below, forward first.
        num_proj, use_peepholes, cell_clip, proj_clip: of every cell, as in ``CellSpec``.
        activation, recurrent_activation: likewise.
        forget_bias: added to the forget gate at run time, as by TensorFlow's cells; PyTorch and
            Keras add nothing.
        dtype: float32 or float64, of weights, inputs, outputs and states.
        seed: of the initial kernels, uniform as by Glorot & Bengio 2010; biases are zero. Weights
            of a trained model come through ``lstmcore.load`` or ``set_weights``.
        device, device_dtype, math: where to compute: "cpu", or as ``to`` has them.

    Calls are safe from several threads at once, and release the GIL; on a GPU those of one model
    follow one another. Inference only.
    """

    def __init__(
        self,
        input_size: int,
        num_units: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        num_proj: int | None = None,
        use_peepholes: bool = False,
        forget_bias: float = 0.0,
        cell_clip: float | None = None,
        proj_clip: float | None = None,
        activation: str = "tanh",
        recurrent_activation: str = "sigmoid",
        dtype: Any = np.float32,
        seed: int | None = None,
        device: str = "cpu",
        device_dtype: str | None = None,
        math: str = "ieee",
    ) -> None:
        where = placement(device, device_dtype, math)
        count = as_size(num_layers, "num_layers", minimum=1)
        both = as_flag(bidirectional, "bidirectional")
        kind, random = dtypes.as_compute_dtype(dtype), np.random.default_rng(seed)
        width = as_size(input_size, "input_size", minimum=1)
        limits, names = (cell_clip, proj_clip), (activation, recurrent_activation)
        layers = []
        for _ in range(count):
            spec = CellSpec(width, num_units, num_proj, use_peepholes, forget_bias, *limits, *names)
            cells = [stack_weights.initial_cell(spec, kind, random) for _ in range(1 + both)]
            layers.append(StackLayer(*cells))
            width = layers[-1].output_size
        self._set_layers(layers, {}, "lstm", where)

    @classmethod
    def from_layers(
        cls, layers: Sequence[StackLayer], *, metadata: Mapping[str, str] = {}, name: str = "lstm"
    ) -> LSTM:
        """A model of these layers. Raises TypeError and ValueError, naming the layer."""
        self = cls.__new__(cls)
        self._set_layers(layers, metadata, name)
        return self

    def _set_layers(
        self, layers: Any, metadata: Mapping[str, str], name: str, where: Placement | None = None
    ) -> None:
        checked = checked_layers(layers)
        on_cpu = CpuModel(checked)
        on_cuda: CudaModel | None = None
        if where is not None:
            from lstmcore.models.on_cuda import CudaModel

            on_cuda = CudaModel(checked, where)
        self._layers = checked
        self._metadata = dict(metadata)
        self._name = name
        self._on_cpu, self._on_cuda = on_cpu, on_cuda

    @property
    def layers(self) -> tuple[StackLayer, ...]:
        """The layers, first to last, with their specs and (read-only) weights."""
        return self._layers

    @property
    def metadata(self) -> dict[str, str]:
        """Where the weights came from, as ``source``, ``format``, ``converter``, ``sha256``..."""
        return dict(self._metadata)

    @property
    def name(self) -> str:
        return self._name

    @property
    def input_size(self) -> int:
        return self._layers[0].cells[0][1].spec.input_size

    @property
    def output_size(self) -> int:
        """The width of the outputs, of both directions of the last layer where it has two."""
        return self._layers[-1].output_size

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    @property
    def bidirectional(self) -> bool:
        """Whether every layer has both directions."""
        return all(len(layer.cells) == 2 for layer in self._layers)

    @property
    def packed_bytes(self) -> int:
        """Bytes of the packed weights, which calls on the CPU read; ``weights`` are kept beside."""
        return self._on_cpu.packed_bytes

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._layers[0].cells[0][1].weights["kernel"].dtype

    @property
    def device(self) -> str:
        """Where calls run: "cpu", or a GPU by the name ``cuda:N``."""
        return self._on_cuda.where.device if self._on_cuda else "cpu"

    def to(self, device: str, dtype: str | None = None, *, math: str = "ieee") -> LSTM:
        """The same model on a GPU, or back on the CPU; this one stays as it is.

        Args:
            device: "cuda", "cuda:N", "cpu", or "auto": a GPU where there is one, else the CPU,
                where the model stays in its own dtype.
            dtype: of weights, inputs and outputs on the GPU: "float32", "float64", "float16" or
                "bfloat16"; None: that of the model. Sums and cell states are float32 (float64 with
                float64).
            math: of float32 products. "ieee"; "tf32", whose factors may be rounded to
                TensorFloat-32 (11 significant bits); or "tf32x3", whose factors may be sums of two
                such numbers (21 bits or more). What cannot use tensor cores so is "ieee".

        Inputs of a call are then arrays on that GPU (anything with ``__dlpack__`` or
        ``__cuda_array_interface__``, not copied), or NumPy arrays of float32 (float64 with
        float64), which are copied, as are their outputs. Calls with arrays on the GPU enqueue their
        work on ``stream`` and return, and keep the arrays alive until it is done; in a stream that
        is being captured into a CUDA graph they are the caller's to keep.

        Raises ValueError for another name or dtype, and for ``dtype`` and ``math`` with "cpu" (with
        "auto" they may be given, and count where there is a GPU), RuntimeError with the reason
        where the GPU cannot be used, MemoryError.
        """
        where = placement(device, dtype, math, "dtype")
        model = LSTM.__new__(LSTM)
        model._set_layers(self._layers, self._metadata, self._name, where)
        return model

    def plan(self, steps: int, batch: int, path: str = "auto") -> list[dict[str, Any]]:
        """How each layer and direction would run on the model's GPU: T ``steps``, N ``batch``.

        A dict each: ``path``; ``kernel``, "fma" or "mma" (tensor cores), of a persistent path, and
        how it divides the work; ``products``, what multiplies the rest: "cublasLt" with its
        version, or "lstmcore". Raises ValueError on the CPU, and for a path that cannot be.
        """
        if self._on_cuda is None:
            raise ValueError("plan: only of a model on a GPU")
        return self._on_cuda.plan(
            as_size(steps, "steps", minimum=0), as_size(batch, "batch", minimum=0), path
        )

    def synchronize(self, stream: int = 0) -> None:
        """Waits for the work that is on a stream of the model's GPU; returns at once on the CPU.

        Raises RuntimeError if a kernel failed.
        """
        if self._on_cuda is not None:
            self._on_cuda.synchronize(stream)

    @property
    def weights(self) -> dict[str, Array]:
        """All weights by name, such as ``layers.0.forward.kernel``; read-only."""
        return stack_weights.by_name(self._layers)

    def set_weights(self, weights: Mapping[str, Any]) -> None:
        """Replaces all weights by those of the same names, shapes and dtype.

        Raises ValueError for names that are missing or too many and for other shapes, TypeError
        for another dtype; nothing has changed then.
        """
        layers = stack_weights.replaced(self._layers, weights)
        self._set_layers(layers, {}, self._name, self._where)

    @property
    def _where(self) -> Placement | None:
        return None if self._on_cuda is None else self._on_cuda.where

    def zero_state(self, batch_size: int) -> State:
        """Zeros in the form of ``initial_state``."""
        return arguments.zero_state(self._layers, as_size(batch_size, "batch_size", minimum=0))

    def __call__(
        self,
        x: Any,
        lengths: Any = None,
        initial_state: Any = None,
        outputs: str = "all",
        *,
        return_state: bool = False,
        time_major: bool = False,
        offsets: Any = None,
        out: Any = None,
        threads: int | None = None,
        stream: int | None = None,
        path: str = "auto",
    ) -> Any:
        """Runs all layers over all time steps, in one native call.

        Args:
            x: [N, T, I] of the model's dtype, or [T, N, I] if ``time_major``; or [total, I] with
                ``offsets``.
            lengths: N integers in 0..T; None: all rows have T steps. From a row's length on, its
                outputs are 0 and its state stays. Lengths and offsets on a GPU are copied to the
                host, and waited for.
            initial_state: a pair (c [N, H], h [N, P]) per layer and direction, layer by layer,
                forward first (as ``zero_state`` gives it); for a single cell the pair alone will
                do. None: zeros.
            outputs: what to return. "all": h of the last layer at each step, [N, T, output_size];
                "last": h at each row's last step, [N, output_size] (the backward half is that of
                step 0, its last); "c": the cell states at each step; "hc": the pair ("all", "c").
            return_state: whether to return a pair (what ``outputs`` says, final state) instead.
            offsets: integers [N + 1] for rows of different lengths one after the other in x, from 0
                to total; outputs are [total, ...] in the places of their inputs.
            out: an array to write "all" or "last" into and return; where x is, on a GPU.
            threads: at most this many; None: as many as the work is worth, see
                ``set_num_threads``. On a GPU without meaning.
            stream: of a model on a GPU: the CUDA stream, as an integer; None: the one that x's
                library works on (torch's current stream), else the default stream.
            path: of a model on a GPU: "stepwise", "block", "cluster" or "grid", for tests and
                measurements; "auto": what the planner takes to be fastest.

        On the CPU each row's result is bit for bit that of the row alone. Raises TypeError and
        ValueError that name the argument, before anything is written.
        """
        arguments.check_outputs(outputs, out)
        major = as_flag(time_major, "time_major")
        given = (lengths, initial_state, outputs, return_state, major, offsets, out)
        return (self._on_cuda or self._on_cpu)(x, arguments.Call(*given, threads, stream, path))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes the model as ``lstmcore.load`` reads it; see ``lstmcore.save``."""
        from lstmcore.formats import save

        save(self, path, overwrite=overwrite)

    def weights_equal(self, other: LSTM) -> bool:
        """Whether the other model has the same specs, and the same weights bit for bit."""
        return stack_weights.equal(self._layers, other._layers)

    def __reduce__(self) -> Any:
        return _unpickled, (2, self._layers, self._metadata, self._name, self._where)

    def __repr__(self) -> str:
        facts = [*described(self._layers), f"dtype={self.dtype}"]
        if self._on_cuda is None:
            facts.append(f"packed={self.packed_bytes} bytes")
        else:
            facts += [f"device={self.device}", f"device_dtype={self._on_cuda.gpu.dtype}"]
        return f"<LSTM '{self._name}' {' '.join(facts)}>"


def _unpickled(version: int, layers: Any, metadata: Any, name: str, where: Any) -> LSTM:
    """On the device that it was on. Raises RuntimeError where that is not there."""
    if version != 2:
        raise ValueError(f"LSTM: pickled in form {version}, this lstmcore reads form 2")
    if where is not None:
        where = placement(where.device, where.dtype, where.math)
    model = LSTM.__new__(LSTM)
    model._set_layers(layers, metadata, name, where)
    return model
