"""The cells inside what the RNN functions take: stacks, wrappers, bidirectional pairs."""

from __future__ import annotations

from typing import Any

from lstmcore.cells.block_cells import LSTMBlockFusedCell
from lstmcore.cells.cell_wrapper import CellWrapper
from lstmcore.cells.lstm_base import LSTMCellBase
from lstmcore.cells.multi_rnn_cell import MultiRNNCell
from lstmcore.checkpoint.names import CellKey


def cells_by_key(cells: Any) -> dict[CellKey, Any]:
    """All LSTM cells of a structure by their place; a cell used twice is at its first place.

    Raises TypeError for what is no cell, no pair of cells and no pair of lists of cells.
    """
    if not isinstance(cells, (list, tuple)):
        return _first_places(_inside((), cells))
    if len(cells) != 2:
        raise TypeError(
            "cells: expected a cell, a pair (cell_fw, cell_bw) or a pair of lists (cells_fw, "
            f"cells_bw), got {type(cells).__name__} of {len(cells)}; stack cells with MultiRNNCell"
        )
    forward, backward = cells
    if not isinstance(forward, (list, tuple)) and not isinstance(backward, (list, tuple)):
        return _first_places(_inside(("fw",), forward) + _inside(("bw",), backward))
    try:
        layers = list(zip(forward, backward, strict=True))
    except (TypeError, ValueError):
        raise TypeError(
            "cells: expected lists of equal length in the pair (cells_fw, cells_bw), got "
            f"{forward!r} and {backward!r}"
        ) from None
    return _first_places(
        [
            place
            for layer, pair in enumerate(layers)
            for direction, cell in zip(("fw", "bw"), pair, strict=True)
            for place in _inside((layer, direction), cell)
        ]
    )


def key_text(key: CellKey) -> str:
    """A place for error messages."""
    words = {"fw": "forward", "bw": "backward"}
    parts = [f"cell {part}" if isinstance(part, int) else words[part] for part in key]
    return f"LSTM cell for place {', '.join(parts)!r}" if parts else "single LSTM cell"


def _inside(key: CellKey, cell: Any) -> list[tuple[CellKey, Any]]:
    if isinstance(cell, MultiRNNCell):
        return [
            place
            for layer, inner in enumerate(cell._cells)
            for place in _inside((*key, layer), inner)
        ]
    if isinstance(cell, (LSTMCellBase, LSTMBlockFusedCell)):
        return [(key, cell)]
    # Residual, dropout and device wrappers add nothing to the names of what they wrap.
    if isinstance(cell, CellWrapper):
        return _inside(key, cell.cell)
    raise TypeError(f"cells: expected LSTM cells, got {cell!r} of type {type(cell).__name__}")


def _first_places(places: list[tuple[CellKey, Any]]) -> dict[CellKey, Any]:
    seen: set[int] = set()
    first: dict[CellKey, Any] = {}
    for key, cell in places:
        if id(cell) not in seen:
            seen.add(id(cell))
            first[key] = cell
    return first
