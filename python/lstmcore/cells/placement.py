"""Which device a cell, or one call of a sequence function, computes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lstmcore import nest

if TYPE_CHECKING:
    from lstmcore.gpu import Placement


def checked_placement(device: Any, device_dtype: Any, math: Any) -> Placement | None:
    """Of a cell with these arguments, None for the CPU; see ``gpu.placement``."""
    if device is None and device_dtype is None and math == "ieee":
        return None
    from lstmcore.gpu import placement

    if device is None:
        raise ValueError("device_dtype, math: they are of a cell on a GPU, pass device too")
    return placement(device, device_dtype, math)


def own_placement(cell: Any) -> Placement | None:
    """The GPU that a cell computes on; None for the CPU, and of an object that is no RNNCell."""
    where: Placement | None = getattr(cell, "_placement", None)
    return where


def call_placement(
    cell: Any, device: Any, device_dtype: Any = None, math: Any = "ieee"
) -> Placement | None:
    """Of a call with these arguments; without a device, the cell's own.

    Raises as ``checked_placement``, and TypeError for a cell whose time loop is not native: its
    steps are its own, wherever they compute.
    """
    own = own_placement(cell)
    if device is None and device_dtype is None and math == "ieee":
        return own
    where = checked_placement(device, device_dtype, math)
    if where != own and not getattr(cell, "_native_sequence", False):
        raise TypeError(
            f"device: expected a cell whose time loop is native for device={device!r}, got {cell}, "
            "which is called step by step"
        )
    return where


def name_of(where: Placement | None) -> str:
    return "cpu" if where is None else where.device


def stand_ins(structure: Any, where: Placement | None) -> Any:
    """On a GPU, with stand-ins for the arrays there (``gpu.stand_in``)."""
    if where is None:
        return structure
    from lstmcore.gpu import stand_in

    return nest.map_structure(stand_in, structure)
