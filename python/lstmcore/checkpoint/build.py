"""Cells of the right class and size for what a checkpoint holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lstmcore.cells.block_cells import CudnnCompatibleLSTMCell
from lstmcore.cells.lstm_cells import BasicLSTMCell, LSTMCell
from lstmcore.cells.multi_rnn_cell import MultiRNNCell
from lstmcore.checkpoint.geometry import stored_geometry
from lstmcore.checkpoint.names import CellKey, CellTensors, find_cells, lstm_scopes, scopes_hint
from lstmcore.checkpoint.paths import StrPath
from lstmcore.checkpoint.reader import CheckpointReader
from lstmcore.checkpoint.restoring import match_cells, required_forget_bias, restore
from lstmcore.errors import CheckpointError

# A structure of cells by place: a cell, or the structures below each index or direction.
_Tree = dict[str | int, Any]


def cells_from_checkpoint(
    checkpoint: CheckpointReader | StrPath,
    scope: str = "",
    *,
    forget_bias: float | None = None,
    moving_average: bool = False,
    ignore: Sequence[str] = (),
    **options: Any,
) -> Any:
    """Make the LSTM cells that the tensors under a scope belong to, and restore them.

    Sizes, peepholes, projection and dtype come from the tensors, the class from the scope:
    BasicLSTMCell, CudnnCompatibleLSTMCell, else LSTMCell. Activations and clips are not stored in
    a checkpoint: where the model did not use TensorFlow's defaults, pass them in ``options``.

    Args:
        checkpoint, scope, forget_bias, moving_average, ignore: as for ``restore``.
        options: further arguments for the constructor of every cell, such as ``activation``,
            ``cell_clip`` or ``device``.

    Returns:
        A cell, a ``MultiRNNCell`` for a stack, a pair ``(cell_fw, cell_bw)`` for
        ``bidirectional_dynamic_rnn``, or a pair of lists ``(cells_fw, cells_bw)`` for
        ``stack_bidirectional_dynamic_rnn``.

    Raises:
        CheckpointError: as ``restore``, or names that form no such structure.
    """
    reader = (
        checkpoint if isinstance(checkpoint, CheckpointReader) else CheckpointReader(checkpoint)
    )
    found, others = find_cells(reader, scope, moving_average=moving_average, ignore=ignore)
    groups = _by_key(found)
    if not groups:
        raise CheckpointError(
            f"{reader.prefix}: no LSTM cells directly under scope {scope!r}"
            f"{scopes_hint(lstm_scopes(reader))}"
        )
    match_cells(reader, groups, found, others, scope)
    bias = required_forget_bias(reader, forget_bias, list(groups.values()))
    tree: _Tree = {}
    for key, tensors in groups.items():
        place = tree
        for part in key:
            place = place.setdefault(part, {})
        place[""] = _make_cell(reader, tensors, bias, options)
    cells = _assemble(tree, f"{reader.prefix}: scope {scope!r}")
    restore(
        reader,
        cells,
        scope,
        forget_bias=forget_bias,
        moving_average=moving_average,
        ignore=ignore,
    )
    return cells


def _by_key(found: list[CellTensors]) -> dict[CellKey, CellTensors]:
    """Groups by place; ``cell_0`` as last part of a path is read as an index, not as a name.

    Groups without place or with the place of another are left to ``match_cells``. The order is that
    of layers, forward before backward, so that names count up in it.
    """
    groups: dict[CellKey, CellTensors] = {}
    for tensors in found:
        keys = tensors.keys()
        if keys:
            groups.setdefault(max(keys, key=len), tensors)
    return dict(sorted(groups.items(), key=lambda group: _order(group[0])))


def _order(key: CellKey) -> list[int]:
    return [part if isinstance(part, int) else ("fw", "bw").index(part) for part in key]


def _make_cell(
    reader: CheckpointReader, tensors: CellTensors, forget_bias: float, options: dict[str, Any]
) -> Any:
    size = stored_geometry(reader, tensors)
    stored = reader.get_variable_to_dtype_map()[tensors.names["kernel"]]
    arguments = {"dtype": "float64" if stored == "float64" else "float32", **options}
    kind = re.sub(r"_\d+$", "", tensors.scope.rpartition("/")[2])
    plain = size.num_proj is None and not size.use_peepholes
    if kind == "cudnn_compatible_lstm_cell" and plain:
        return CudnnCompatibleLSTMCell(size.num_units, **options)
    if kind == "basic_lstm_cell" and plain:
        return BasicLSTMCell(size.num_units, forget_bias=forget_bias, **arguments)
    return LSTMCell(
        size.num_units,
        use_peepholes=size.use_peepholes,
        num_proj=size.num_proj,
        forget_bias=forget_bias,
        **arguments,
    )


def _assemble(tree: _Tree, where: str) -> Any:
    """The cell, stack, pair or pair of lists that a tree of places stands for."""
    parts = set(tree)
    if parts == {""}:
        return tree[""]
    if parts == {"fw", "bw"}:
        return _assemble(tree["fw"], where), _assemble(tree["bw"], where)
    if parts != set(range(len(parts))):
        raise CheckpointError(
            f"{where}: the names of its LSTM cells form no stack (cell_0, cell_1, ...) or pair "
            f"(fw, bw), found {', '.join(sorted(map(str, parts)))}"
        )
    layers = [_assemble(tree[index], where) for index in range(len(parts))]
    pairs = [layer for layer in layers if isinstance(layer, tuple)]
    if not pairs:
        return MultiRNNCell(layers)
    if len(pairs) < len(layers) or any(isinstance(cell, list) for pair in pairs for cell in pair):
        raise CheckpointError(f"{where}: its layers are partly bidirectional, or nested too deep")
    return [forward for forward, _ in pairs], [backward for _, backward in pairs]
