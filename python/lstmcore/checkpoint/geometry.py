"""What the shapes of stored tensors say about an LSTM cell, and whether a given cell fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lstmcore.cells.block_cells import LSTMBlockFusedCell
from lstmcore.checkpoint.names import CellTensors
from lstmcore.checkpoint.reader import CheckpointReader
from lstmcore.errors import CheckpointError
from lstmcore.variables.variable import Variable

PEEPHOLES = ("w_i_diag", "w_f_diag", "w_o_diag")


@dataclass(frozen=True)
class Geometry:
    """Sizes of one LSTM cell. ``num_proj`` is None without projection."""

    input_size: int
    num_units: int
    num_proj: int | None
    use_peepholes: bool


def stored_geometry(reader: CheckpointReader, cell: CellTensors) -> Geometry:
    """The sizes that the tensors of ``cell`` agree on.

    TensorFlow's layout: kernel [I+P, 4H] with input rows first, bias [4H], peepholes [H],
    projection [H, P]. Raises CheckpointError for a missing tensor or shapes that contradict.
    """
    shapes = reader.get_variable_to_shape_map()
    found = {role: tuple(shapes[name]) for role, name in cell.names.items()}
    where = f"{reader.prefix}: {cell.scope!r}"
    for role in ("kernel", "bias"):
        if role not in found:
            raise CheckpointError(f"{where} has no {role}, only {', '.join(cell.names.values())}")
    kernel, bias = found["kernel"], found["bias"]
    if len(kernel) != 2 or kernel[1] % 4 or not kernel[1]:
        raise CheckpointError(
            f"{where}: kernel has shape {kernel}; an LSTM cell's is (input + units, 4 x units)"
        )
    num_units = kernel[1] // 4
    if bias != (4 * num_units,):
        cudnn = bias == (8 * num_units,)
        raise CheckpointError(
            f"{where}: bias has shape {bias}; for a kernel of shape {kernel} expected "
            f"({4 * num_units},)"
            + (": two biases per gate are the layout of Keras CuDNNLSTM" if cudnn else "")
        )
    peepholes = [role for role in PEEPHOLES if role in found]
    for role in peepholes:
        if len(peepholes) < 3 or found[role] != (num_units,):
            raise CheckpointError(
                f"{where}: {role} has shape {found[role]}; expected all of {', '.join(PEEPHOLES)} "
                f"with shape ({num_units},), found {', '.join(peepholes)}"
            )
    projection = found.get("projection/kernel")
    if projection is not None and (len(projection) != 2 or projection[0] != num_units):
        raise CheckpointError(
            f"{where}: projection/kernel has shape {projection}; expected ({num_units}, num_proj)"
        )
    num_proj = None if projection is None else projection[1]
    input_size = kernel[0] - (num_units if num_proj is None else num_proj)
    if input_size < 1 or num_proj == 0:
        raise CheckpointError(
            f"{where}: kernel has {kernel[0]} rows; expected more than the "
            f"{num_proj or num_units} of the {'projection' if num_proj else 'state'}"
        )
    return Geometry(input_size, num_units, num_proj, bool(peepholes))


def check_fits(cell: Any, stored: Geometry, tensors: CellTensors, file: str) -> None:
    """Raise CheckpointError, with what to change, when ``cell`` is not of the stored sizes."""
    own = cell_geometry(cell)
    kind = type(cell).__name__
    where = f"{file}: {tensors.scope!r}"
    output = stored.num_proj or stored.num_units
    kernel = (stored.input_size + output, 4 * stored.num_units)
    if own.num_units != stored.num_units:
        raise CheckpointError(
            f"{where}: kernel has shape {kernel}; for num_units={own.num_units} expected "
            f"(input + {own.num_proj or own.num_units}, {4 * own.num_units}). {kernel[1]} = 4 x "
            f"{stored.num_units}: did you mean num_units={stored.num_units}?"
        )
    if own.num_proj != stored.num_proj:
        raise CheckpointError(
            f"{where}: the cell has num_proj={own.num_proj}, the checkpoint "
            + (
                f"a projection/kernel of shape ({stored.num_units}, {stored.num_proj}): did you "
                f"mean LSTMCell({stored.num_units}, num_proj={stored.num_proj})?"
                if stored.num_proj
                else "no projection/kernel: did you mean num_proj=None?"
            )
        )
    if own.use_peepholes != stored.use_peepholes:
        raise CheckpointError(
            f"{where}: {kind} has use_peepholes={own.use_peepholes}, the checkpoint has "
            f"{'' if stored.use_peepholes else 'no '}{', '.join(PEEPHOLES)}: did you mean "
            f"LSTMCell({stored.num_units}, use_peepholes={stored.use_peepholes})?"
        )
    if own.input_size not in (0, stored.input_size):
        raise CheckpointError(
            f"{where}: kernel has shape {kernel}, an input of {stored.input_size}; the cell is "
            f"built for an input of {own.input_size}"
        )


def cell_geometry(cell: Any) -> Geometry:
    """The sizes that an LSTM cell was made with; input size 0 when it is not built yet."""
    fused = isinstance(cell, LSTMBlockFusedCell)
    num_proj = None if fused else cell._num_proj
    use_peepholes = bool(cell._use_peephole if fused else cell._use_peepholes)
    input_size = 0
    if cell.built:
        rows, columns = full_shape(variables_by_role(cell)["kernel"][0])
        input_size = rows - (num_proj or columns // 4)
    return Geometry(input_size, cell._num_units, num_proj, use_peepholes)


def variables_by_role(cell: Any) -> dict[str, list[Variable]]:
    """The variables of a built cell by role; several for one that is stored in parts."""
    by_role: dict[str, list[Variable]] = {}
    for variable in cell.weights:
        name = variable.slice_info.full_name if variable.slice_info else variable.op.name
        scope, _, role = name.rpartition("/")
        if role == "kernel" and scope.endswith("/projection"):
            role = "projection/kernel"
        by_role.setdefault(role, []).append(variable)
    return by_role


def full_shape(variable: Variable) -> tuple[int, ...]:
    """The shape of the whole that ``variable`` is, or is a part of."""
    return variable.slice_info.full_shape if variable.slice_info else variable.shape
