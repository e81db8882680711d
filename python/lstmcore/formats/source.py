"""What a reader finds in a file, before any weight is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from lstmcore.arrays import Array
from lstmcore.errors import LoadError
from lstmcore.formats.layouts import Layout


class TensorInfo(NamedTuple):
    """``dtype`` is the stored type's name: "float32", "bfloat16", ..."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class CellOptions:
    """What a file says of a cell beside its weights; None where it says nothing.

    A None ``forget_bias`` must be stated by the caller, None activations are the defaults of the
    framework that wrote the file (tanh and sigmoid).
    """

    forget_bias: float | None = 0.0
    activation: str | None = None
    recurrent_activation: str | None = None
    cell_clip: float | None = None
    proj_clip: float | None = None


@dataclass(frozen=True)
class FoundCell:
    """One direction of one layer: where its weights are, and how they are arranged.

    ``names`` are the tensors of the file by the layout's role; ``where`` is its place in the file.
    """

    where: str
    layout: Layout
    names: Mapping[str, str]
    options: CellOptions = CellOptions()


class FoundLayer(NamedTuple):
    forward: FoundCell | None
    backward: FoundCell | None = None

    @property
    def cells(self) -> list[tuple[str, FoundCell]]:
        named = (("forward", self.forward), ("backward", self.backward))
        return [(name, cell) for name, cell in named if cell is not None]


@dataclass(frozen=True)
class FoundModel:
    """Layers that form one stack. ``scope`` is its name in the file; "" for the file itself.

    ``problem`` is why it cannot be loaded, None where it can.
    """

    scope: str
    layers: tuple[FoundLayer, ...]
    notes: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def names(self) -> set[str]:
        """All that its cells call tensors."""
        cells = (cell for layer in self.layers for _, cell in layer.cells)
        return {name for cell in cells for name in cell.names.values()}


@dataclass
class Source(ABC):
    """An open model file. ``format`` is for people; ``foreign`` are tensors that are known to be
    something else than weights, such as an optimizer's state."""

    path: str
    format: str = ""
    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    models: list[FoundModel] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)
    separator: str = "/"  # between the parts of a tensor's name

    @abstractmethod
    def read(self, name: str) -> Array:
        """One tensor as float32 or float64 (narrower floats widened exactly).

        Raises LoadError where its bytes are not there or not intact.
        """

    def origins(self, name: str) -> set[str]:
        """The tensors of the file that make up what a cell calls ``name``; usually itself."""
        return {name}

    def close(self) -> None:  # noqa: B027 (most need nothing)
        """Lets go of the file."""

    def error(self, text: str) -> LoadError:
        return LoadError(f"{self.path}: {text}")
