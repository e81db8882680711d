"""What a model is: its layers, their sizes and options, and their weights in canonical form.

Canonical weights are those of TensorFlow's cells: gates in the order i, j, f, o, the rows of the
input before those of the hidden state. ``forget_bias`` is kept beside the bias, never added to it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lstmcore import _core, activations, dtypes
from lstmcore.arrays import Array, as_number, as_size, check_sizes

PEEPHOLES = ("w_i_diag", "w_f_diag", "w_o_diag")
# In the order in which weights are listed everywhere.
ROLES = ("kernel", "bias", *PEEPHOLES, "projection")
GATE_ACTIVATIONS = ("sigmoid", "hard_sigmoid", "hard_sigmoid_keras3")


@dataclass(frozen=True)
class CellSpec:
    """Sizes and options of one direction of one layer; P is ``num_proj``, or without it H.

    ``activation`` is the name of a fused activation, ``recurrent_activation`` what opens the gates:
    "sigmoid", "hard_sigmoid" (Keras 2: 0.2 x + 0.5) or "hard_sigmoid_keras3" (x / 6 + 0.5).
    ``cell_clip`` and ``proj_clip`` limit the size of c and of the projected h. Raises TypeError and
    ValueError, naming the argument.
    """

    input_size: int
    num_units: int
    num_proj: int | None = None
    use_peepholes: bool = False
    forget_bias: float = 0.0
    cell_clip: float | None = None
    proj_clip: float | None = None
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"

    def __post_init__(self) -> None:
        as_size(self.input_size, "input_size", minimum=1)
        as_size(self.num_units, "num_units", minimum=1)
        if self.num_proj is not None:
            as_size(self.num_proj, "num_proj", minimum=1)
        check_sizes(self.input_size, self.num_units, self.output_size)
        as_number(self.forget_bias, "forget_bias")
        for name in ("cell_clip", "proj_clip"):
            limit = getattr(self, name)
            if limit is not None and not as_number(limit, name) > 0:
                raise ValueError(f"{name} must be above 0 or None, got {limit}")
        if self.proj_clip is not None and self.num_proj is None:
            raise ValueError("proj_clip needs num_proj")
        fused = _core.fused_activations()
        if self.activation not in fused:
            raise ValueError(
                f"activation must be one with a fused kernel ({', '.join(fused)}), "
                f"got {self.activation!r}"
            )
        if self.recurrent_activation not in GATE_ACTIVATIONS:
            raise ValueError(
                f"recurrent_activation must be one of {', '.join(GATE_ACTIVATIONS)}, "
                f"got {self.recurrent_activation!r}"
            )

    @property
    def output_size(self) -> int:
        return self.num_units if self.num_proj is None else self.num_proj

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each weight that such a cell has, by role."""
        H, P = self.num_units, self.output_size
        shapes: dict[str, tuple[int, ...]] = {
            "kernel": (self.input_size + P, 4 * H),
            "bias": (4 * H,),
        }
        if self.use_peepholes:
            shapes |= dict.fromkeys(PEEPHOLES, (H,))
        if self.num_proj is not None:
            shapes["projection"] = (H, P)
        return shapes

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, as plain data."""
        return dataclasses.asdict(self)


class Cell(NamedTuple):
    """One direction of one layer: its spec, and its weights by role, all of one dtype."""

    spec: CellSpec
    weights: dict[str, Array]

    def native(self) -> _core.Lstm:
        """The packed weights."""
        spec, weights = self.spec, self.weights
        return _core.Lstm(
            weights["kernel"],
            weights["bias"],
            num_units=spec.num_units,
            proj_kernel=weights.get("projection"),
            forget_bias=float(spec.forget_bias),
            cell_clip=spec.cell_clip,
            proj_clip=spec.proj_clip,
            activation=activations.get(spec.activation).name,
            recurrent_activation=spec.recurrent_activation,
            **{role: weights.get(role) for role in PEEPHOLES},
        )


class StackLayer(NamedTuple):
    """A layer of a model: one direction or both; the outputs of both stand side by side."""

    forward: Cell | None
    backward: Cell | None = None

    @property
    def cells(self) -> list[tuple[str, Cell]]:
        """The directions that there are: "forward", then "backward"."""
        named = (("forward", self.forward), ("backward", self.backward))
        return [(name, cell) for name, cell in named if cell is not None]

    def astype(self, dtype: Any) -> StackLayer:
        """The layer with weights of another dtype, rounded or widened."""
        cells = {
            side: Cell(cell.spec, {k: v.astype(dtype, copy=False) for k, v in cell.weights.items()})
            for side, cell in self.cells
        }
        return StackLayer(cells.get("forward"), cells.get("backward"))

    @property
    def output_size(self) -> int:
        return sum(cell.spec.output_size for _, cell in self.cells)


def checked_layers(layers: Any) -> tuple[StackLayer, ...]:
    """``layers`` with dense weights of their own, which nobody can change.

    Raises TypeError and ValueError for what makes no stack, naming the layer and the weight.
    """
    checked = []
    width, dtype = None, None
    for k, layer in enumerate(layers):
        if not isinstance(layer, StackLayer) or not layer.cells:
            raise TypeError(f"layers[{k}]: expected a StackLayer with a Cell, got {layer!r}")
        cells: dict[str, Cell] = {}
        for direction, cell in layer.cells:
            where = f"layers[{k}] {direction}"
            expected = cell.spec.input_size if width is None else width
            if cell.spec.input_size != expected:
                raise ValueError(
                    f"{where}: expected input_size {expected}, the width of what comes from below, "
                    f"got {cell.spec.input_size}"
                )
            cells[direction] = _checked_cell(cell, where)
            found = cells[direction].weights["kernel"].dtype
            dtype = found if dtype is None else dtype
            if found != dtype:
                raise TypeError(f"{where}: expected {dtype} as in the layers before, got {found}")
            width = expected
        checked.append(StackLayer(cells.get("forward"), cells.get("backward")))
        width = checked[-1].output_size
    if not checked:
        raise ValueError("layers: expected at least one")
    return tuple(checked)


def _checked_cell(cell: Cell, where: str) -> Cell:
    shapes = cell.spec.shapes
    if set(cell.weights) != set(shapes):
        raise ValueError(
            f"{where}: expected the weights {', '.join(shapes)}, got {', '.join(cell.weights)}"
        )
    dtype = cell.weights["kernel"].dtype
    if dtype not in dtypes.SUPPORTED:
        raise TypeError(f"{where} kernel: expected {dtypes.SUPPORTED_NAMES}, got {dtype}")
    weights = {}
    for role in (role for role in ROLES if role in shapes):
        value = cell.weights[role]
        if value.dtype != dtype or value.shape != shapes[role]:
            raise ValueError(
                f"{where} {role}: expected {dtype} {shapes[role]}, got {value.dtype} {value.shape}"
            )
        dense = np.require(value, requirements=("C", "A"))
        if dense.flags.writeable:
            dense = dense.copy() if dense is value or dense.base is not None else dense
            dense.flags.writeable = False
        weights[role] = dense
    return Cell(cell.spec, weights)


def described(layers: tuple[StackLayer, ...]) -> list[str]:
    """Sizes, and the options that are not the default, for ``repr``."""
    specs = [cell.spec for layer in layers for _, cell in layer.cells]
    units = [layer.cells[0][1].spec.num_units for layer in layers]
    facts = [
        f"input_size={specs[0].input_size}",
        f"num_units={units[0] if len(set(units)) == 1 else units}",
        f"num_layers={len(layers)}",
        f"output_size={layers[-1].output_size}",
    ]
    if all(len(layer.cells) == 2 for layer in layers):
        facts.append("bidirectional=True")
    return facts + [
        f"{field}={getattr(specs[0], field)!r}"
        for field, default in CellSpec.__dataclass_fields__.items()
        if field not in ("input_size", "num_units") and getattr(specs[0], field) != default.default
    ]
