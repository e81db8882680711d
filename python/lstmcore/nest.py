"""Nested structures of arrays: lists, tuples, named tuples and mappings (TF API: ``tf.nest``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lstmcore.layers.input_spec import flatten as iterate_leaves


def is_nested(value: Any) -> bool:
    """Whether ``value`` is a structure; arrays are leaves."""
    if isinstance(value, (list, tuple)):
        return True
    # asked of arrays most of all, for which the abstract class would be slow to say no
    return not isinstance(value, np.ndarray) and isinstance(value, Mapping)


def flatten(structure: Any) -> list[Any]:
    """The leaves from left to right, those of mappings in key order."""
    return list(iterate_leaves(structure))


def pack_as(structure: Any, leaves: Sequence[Any]) -> Any:
    """``leaves`` in containers like those of ``structure``, which has as many leaves."""
    remaining = iter(leaves)
    packed = _pack(structure, remaining)
    assert next(remaining, None) is None, "more leaves than the structure has places"
    return packed


def map_structure(function: Callable[..., Any], structure: Any, *others: Any) -> Any:
    """``function`` of each leaf of ``structure`` and the leaves of ``others`` in its place."""
    columns = [flatten(structure), *(flatten(other) for other in others)]
    return pack_as(structure, [function(*row) for row in zip(*columns, strict=True)])


def check_same_structure(first: Any, second: Any, names: tuple[str, str]) -> None:
    """Raises ValueError, in TensorFlow's words, when the containers do not nest alike."""
    if _nests_like(first, second):
        return
    raise ValueError(
        "The two structures don't have the same nested structure.\n\n"
        f"First structure ({names[0]}): type={type(first).__name__} str={_outline(first)}\n\n"
        f"Second structure ({names[1]}): type={type(second).__name__} str={_outline(second)}"
    )


def _pack(structure: Any, remaining: Iterator[Any]) -> Any:
    if isinstance(structure, Mapping):
        packed = {key: _pack(structure[key], remaining) for key in sorted(structure)}
        return {key: packed[key] for key in structure}
    if not is_nested(structure):
        return next(remaining)
    items = [_pack(item, remaining) for item in structure]
    if hasattr(structure, "_fields"):
        return type(structure)(*items)
    return items if isinstance(structure, list) else tuple(items)


def _nests_like(first: Any, second: Any) -> bool:
    if is_nested(first) != is_nested(second):
        return False
    if not is_nested(first):
        return True
    if isinstance(first, Mapping) or isinstance(second, Mapping):
        if not (isinstance(first, Mapping) and isinstance(second, Mapping)):
            return False
        if first.keys() != second.keys():
            return False
        return all(_nests_like(first[key], second[key]) for key in first)
    return len(first) == len(second) and all(map(_nests_like, first, second))


def _outline(structure: Any) -> str:
    """The structure with a dot for each leaf: the leaves are arrays and would fill pages."""
    return str(map_structure(lambda leaf: "." if hasattr(leaf, "shape") else leaf, structure))
