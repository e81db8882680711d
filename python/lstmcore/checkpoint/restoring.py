"""Restoring LSTM cells from a checkpoint by scope name.

A checkpoint holds kernels and biases, but neither ``forget_bias`` nor whether CudnnLSTM trained
them; both change every output, so neither is guessed (TF API: ``tf.contrib.cudnn_rnn``, notes on
``CudnnCompatibleLSTMCell``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.arrays import as_number
from lstmcore.checkpoint.geometry import (
    Geometry,
    check_fits,
    stored_geometry,
    variables_by_role,
)
from lstmcore.checkpoint.names import CellKey, CellTensors, find_cells, lstm_scopes, scopes_hint
from lstmcore.checkpoint.paths import StrPath
from lstmcore.checkpoint.reader import CheckpointReader
from lstmcore.checkpoint.structure import cells_by_key, key_text
from lstmcore.errors import CheckpointError
from lstmcore.unwinding import unwound
from lstmcore.variables.variable import Variable


def restore(
    checkpoint: CheckpointReader | StrPath,
    cells: Any,
    scope: str = "",
    *,
    forget_bias: float | None = None,
    moving_average: bool = False,
    ignore: Sequence[str] = (),
) -> dict[str, str]:
    """Set the variables of LSTM cells from the tensors under a scope of a checkpoint.

    Unbuilt cells are built in the current variable scope, for the input depth and (unless they have
    one) the dtype of the stored kernel. Stored float16, bfloat16 and float32 values are widened
    where the cell's dtype is bigger. Nothing is changed unless everything fits.

    Args:
        checkpoint: a reader, or what ``load_checkpoint`` takes.
        cells: an LSTM cell, a ``MultiRNNCell`` or wrapper of such; a pair ``(cell_fw, cell_bw)`` as
            for ``bidirectional_dynamic_rnn``; or a pair of lists ``(cells_fw, cells_bw)`` as for
            ``stack_bidirectional_dynamic_rnn``.
        scope: what stands before the cells in the tensor names. Everything below must be theirs.
        forget_bias: what the model added to the forget gate; must equal the cells' own. It is not
            in the checkpoint: 1.0 was TensorFlow's default. Only scopes named after CudnnLSTM,
            whose weights need 0.0, may go without.
        moving_average: take the ``ExponentialMovingAverage`` of each weight instead of the weight.
        ignore: tensors, or scopes of tensors, below ``scope`` to leave out.

    Returns:
        The name of the tensor that each variable was set from, by variable name.

    Raises:
        CheckpointError: forget_bias not given or another than the cells'; cells or tensors left
            over, missing or ambiguous; shapes or dtypes that do not fit; unreadable files.
        TypeError: ``cells`` holds something that is not an LSTM cell.
    """
    reader = (
        checkpoint if isinstance(checkpoint, CheckpointReader) else CheckpointReader(checkpoint)
    )
    wanted = cells_by_key(cells)
    found, others = find_cells(reader, scope, moving_average=moving_average, ignore=ignore)
    matched = match_cells(reader, wanted, found, others, scope)
    origins = [(wanted[key], tensors) for key, tensors in matched.items()]
    bias = required_forget_bias(reader, forget_bias, [tensors for _, tensors in origins])
    for cell, tensors in origins:
        _check_forget_bias(cell, bias, tensors, reader.prefix)
    geometries = [stored_geometry(reader, tensors) for _, tensors in origins]
    for (cell, tensors), stored in zip(origins, geometries, strict=True):
        check_fits(cell, stored, tensors, reader.prefix)
    values = [_load(reader, cell, tensors) for cell, tensors in origins]

    for (cell, _), stored, arrays in zip(origins, geometries, values, strict=True):
        if not cell.built:
            _build(cell, stored, arrays["kernel"].dtype)
    return _assign(
        (variable, value, tensors.names[role])
        for (cell, tensors), arrays in zip(origins, values, strict=True)
        for variable, value, role in _assignments(cell, arrays)
    )


def match_cells(
    reader: CheckpointReader,
    wanted: Iterable[CellKey],
    found: list[CellTensors],
    others: list[str],
    scope: str,
) -> dict[CellKey, CellTensors]:
    """The tensors of each wanted cell, one to one; CheckpointError names what does not match."""
    candidates: dict[CellKey, list[CellTensors]] = {key: [] for key in wanted}
    unused = list(others)
    for tensors in found:
        keys = tensors.keys() & candidates.keys()
        for key in keys:
            candidates[key].append(tensors)
        if not keys:
            unused += tensors.names.values()
    inside = scope.strip("/")
    nearby = [s for s in lstm_scopes(reader) if not inside or f"{s}/".startswith(f"{inside}/")]
    where = f"{reader.prefix}: scope {scope!r}"
    for key, tensors_of_key in candidates.items():
        if not tensors_of_key:
            raise CheckpointError(f"{where} has no {key_text(key)}{scopes_hint(nearby)}")
        if len(tensors_of_key) > 1:
            names = ", ".join(repr(tensors.scope) for tensors in tensors_of_key)
            raise CheckpointError(
                f"{where} has more than one {key_text(key)}: {names}. Pass a scope that has one"
            )
    if unused:
        shown = ", ".join(sorted(unused)[:8]) + (", ..." if len(unused) > 8 else "")
        raise CheckpointError(
            f"{where}: tensors not used ({len(unused)}): {shown}. Pass a narrower scope, or "
            f"ignore=[...] if that is meant{scopes_hint(nearby)}"
        )
    return {key: tensors_of_key[0] for key, tensors_of_key in candidates.items()}


def required_forget_bias(
    reader: CheckpointReader, given: float | None, tensors: Sequence[CellTensors]
) -> float:
    """The forget bias that the caller states, or that names of CudnnLSTM scopes imply."""
    cudnn = [cell.scope for cell in tensors if cell.from_cudnn]
    stated = None if given is None else as_number(given, "forget_bias")
    if stated is None:
        if len(cudnn) == len(tensors):
            return 0.0
        scope = next(cell.scope for cell in tensors if not cell.from_cudnn)
        raise CheckpointError(
            f"{reader.prefix}: {scope!r} needs a forget_bias: it is not stored in TensorFlow "
            "checkpoints. The default of BasicLSTMCell and LSTMCell was 1.0; weights trained with "
            "CudnnLSTM need 0.0. Pass forget_bias=..."
        )
    if cudnn and stated != 0.0:
        raise CheckpointError(
            f"{reader.prefix}: got forget_bias={stated}, but the name of {cudnn[0]!r} says that "
            "CudnnLSTM trained it, whose weights need 0.0: use CudnnCompatibleLSTMCell, or "
            "LSTMCell with forget_bias=0.0"
        )
    return stated


def _check_forget_bias(cell: Any, stated: float, tensors: CellTensors, file: str) -> None:
    if float(cell._forget_bias) == stated:
        return
    source = "CudnnLSTM's weights need" if tensors.from_cudnn else "restore was told"
    raise CheckpointError(
        f"{file}: {source} forget_bias={stated} for {tensors.scope!r}, but the "
        f"{type(cell).__name__} was made with forget_bias={cell._forget_bias}. Make the cell with "
        f"forget_bias={stated}" + (" or use CudnnCompatibleLSTMCell" if stated == 0.0 else "")
    )


def _load(reader: CheckpointReader, cell: Any, tensors: CellTensors) -> dict[str, NDArray[Any]]:
    """The stored values by role, in the dtype of the cell; CheckpointError if digits would go."""
    values = {role: reader.get_tensor(name) for role, name in tensors.names.items()}
    for role, value in values.items():
        if value.dtype.kind != "f":
            raise CheckpointError(
                f"{reader.prefix}: tensor {tensors.names[role]!r} has dtype {value.dtype}, "
                "expected a floating type"
            )
    dtype = np.result_type(np.float32, *(value.dtype for value in values.values()))
    own = cell.dtype
    if own is not None:
        if dtype.itemsize > np.dtype(own).itemsize:
            raise CheckpointError(
                f"{reader.prefix}: {tensors.scope!r} is stored as {dtype}, the cell has dtype "
                f"{own}, which would lose digits. Make the cell with dtype={dtype.name!r}"
            )
        dtype = np.dtype(own)
    return {role: value.astype(dtype, copy=False) for role, value in values.items()}


@unwound
def _build(cell: Any, stored: Geometry, dtype: np.dtype[Any]) -> None:
    """Build as a first call with an empty batch would, in the current variable scope."""
    rank = cell.input_spec.ndim if cell.input_spec is not None and cell.input_spec.ndim else 2
    inputs = np.zeros((0,) * (rank - 1) + (stored.input_size,), dtype)
    with cell._scoped_build(inputs):
        pass


def _assignments(
    cell: Any, arrays: dict[str, NDArray[Any]]
) -> Iterable[tuple[Variable, NDArray[Any], str]]:
    """Each variable of the cell with its value; parts of a partitioned one get theirs."""
    for role, variables in variables_by_role(cell).items():
        for variable in variables:
            value = arrays[role]
            if variable.slice_info is not None:
                ranges = zip(variable.slice_info.offset, variable.shape, strict=True)
                value = value[tuple(slice(start, start + size) for start, size in ranges)]
            yield variable, value, role


def _assign(assignments: Iterable[tuple[Variable, NDArray[Any], str]]) -> dict[str, str]:
    """Assign all values or, where a variable would not take its value, none."""
    assignments = list(assignments)
    for variable, value, _ in assignments:
        variable.check_assignable(value)
    for variable, value, _ in assignments:
        variable.assign(value)
    return {variable.name: name for variable, _, name in assignments}
