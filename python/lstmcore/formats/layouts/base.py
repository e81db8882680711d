"""What every layout tells: its roles, its sizes, its equations, and how to convert."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from lstmcore.arrays import Array
from lstmcore.models.description import CellSpec

Shapes = Mapping[str, tuple[int, ...]]
Weights = Mapping[str, Array]

CANONICAL = "ijfo"


class LayoutError(ValueError):
    """Shapes that do not fit together, or weights that a layout cannot hold; without the file."""


class Sizes(NamedTuple):
    """H, I and, with a projection, P of one cell."""

    input_size: int
    num_units: int
    num_proj: int | None = None
    use_peepholes: bool = False


class Layout(ABC):
    """One framework's arrays for one direction of one layer, by role.

    ``gates`` is the order of the four blocks, with j for the new values (others say g or c).
    """

    name: ClassVar[str]
    gates: ClassVar[str]
    required: ClassVar[tuple[str, ...]]
    optional: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def sizes(self, shapes: Shapes) -> Sizes:
        """What the shapes agree on; LayoutError, with a hint, where they contradict."""

    @abstractmethod
    def to_canonical(self, weights: Weights, sizes: Sizes) -> dict[str, Array]:
        """The canonical weights; nothing is folded into a bias but a second bias."""

    @abstractmethod
    def from_canonical(self, weights: Weights, spec: CellSpec) -> dict[str, Array]:
        """Arrays of this layout. Adds ``forget_bias`` to the bias of the forget gate.

        Raises LayoutError for options that the framework's layer does not have.
        """

    @abstractmethod
    def pre_activations(self, weights: Weights, x: Array, h: Array) -> Mapping[str, Array]:
        """The four gates before their activations, by letter, with the layout's own products.

        x [N, I], h [N, P]; peepholes and forget bias are not in it.
        """

    def peepholes(self, weights: Weights, num_units: int) -> Mapping[str, Array]:
        """p_i, p_f and p_o by gate letter; nothing without them."""
        return {}

    def projection(self, weights: Weights) -> Array | None:
        """[H, P], or None."""
        return None


def check_shape(shapes: Shapes, role: str, expected: tuple[int, ...], why: str) -> None:
    """Raises LayoutError where the array of a role is there with another shape."""
    if role in shapes and shapes[role] != expected:
        raise LayoutError(f"{role} has shape {shapes[role]}; {why} needs {expected}")


def matrix(shapes: Shapes, role: str) -> tuple[int, int]:
    """The shape of a matrix with something in it."""
    shape = shapes[role]
    if len(shape) != 2 or 0 in shape:
        raise LayoutError(f"{role} has shape {shape}; expected a matrix")
    return shape[0], shape[1]


def not_four_gates(role: str, shape: tuple[int, ...], units: int, gates: int) -> LayoutError:
    """The error for weights of another number of gates, which names what they may be."""
    kind = {3: ": three gates are a GRU's", 1: ": one block is a plain RNN's"}.get(gates, "")
    return LayoutError(f"{role} has shape {shape}, which is no four gates of {units} units{kind}")


def reordered(array: Array, order: str, wanted: str, axis: int) -> Array:
    """Four gate blocks along ``axis``, from one order to another."""
    blocks = dict(zip(order, np.split(array, 4, axis=axis), strict=True))
    return np.ascontiguousarray(np.concatenate([blocks[gate] for gate in wanted], axis=axis))


def blocks_of(array: Array, order: str, axis: int) -> dict[str, Array]:
    return dict(zip(order, np.split(array, 4, axis=axis), strict=True))


def bias_with_forget(weights: Weights, spec: CellSpec) -> Array:
    """The canonical bias with the forget bias inside, for layouts that add none at run time."""
    bias = weights["bias"]
    if not spec.forget_bias:
        return bias
    i, j, f, o = np.split(bias, 4)
    return np.concatenate([i, j, f + bias.dtype.type(spec.forget_bias), o])


def refuse_options(spec: CellSpec, framework: str, allowed: tuple[str, ...] = ()) -> None:
    """LayoutError naming the first option of ``spec`` that ``framework`` has nothing for."""
    default = CellSpec(spec.input_size, spec.num_units)
    always = ("input_size", "num_units", "forget_bias", *allowed)
    for option, value in spec.as_dict().items():
        if option not in always and value != getattr(default, option):
            raise LayoutError(f"{framework} has nothing for {option}={value!r}")
