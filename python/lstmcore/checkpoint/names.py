"""Which tensors of a checkpoint belong to which LSTM cell, told by their names.

Understood are the scopes of TensorFlow 1 and 2 (``<scope>/rnn/multi_rnn_cell/cell_0/lstm_cell/
kernel``), the old ``weights`` and ``biases``, and the attribute paths of ``tf.train.Checkpoint``
(``cell/kernel/.ATTRIBUTES/VARIABLE_VALUE``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lstmcore.checkpoint.reader import CheckpointReader
from lstmcore.errors import CheckpointError

# The way to one cell inside a structure of cells: direction "fw" or "bw", index in a stack.
CellKey = tuple[str | int, ...]

ROLES = {
    "kernel": "kernel",
    "weights": "kernel",
    "bias": "bias",
    "biases": "bias",
    "w_i_diag": "w_i_diag",
    "w_f_diag": "w_f_diag",
    "w_o_diag": "w_o_diag",
    "projection/kernel": "projection/kernel",
    "projection/weights": "projection/kernel",
}
OBJECT_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_MOVING_AVERAGE = "/ExponentialMovingAverage"
_SLOT = re.compile(
    r"/(Adam|AdamW|LAMB|Momentum|RMSProp|Adagrad|AdagradDA|Adadelta|Ftrl|ProximalAdagrad|adam_[mv]"
    rf"|{_MOVING_AVERAGE[1:]})(_\d+)?$"
)
# Counters that every training run saves beside the weights.
_BOOKKEEPING = re.compile(r"(^|.*/)(global_step|save_counter|beta[12]_power(_\d+)?)$")
CUDNN_SEGMENT = re.compile(r"(^|/)(cudnn_lstm|cudnn_compatible_lstm_cell)(_\d+)?(/|$)")
# Weights in layouts that are not those of TensorFlow's cells.
_REFUSED = (
    (
        re.compile(r"(^|/)opaque_kernel(_\d+)?$"),
        "is an opaque CudnnLSTM parameter buffer, which only cuDNN can unpack. Save the model "
        "through CudnnLSTM's saveable, which writes the kernel and bias of each cell",
    ),
    (
        re.compile(r"(^|/)recurrent_kernel(_\d+)?$"),
        "belongs to a Keras LSTM, whose gates and kernels are arranged otherwise than those of "
        "TensorFlow's cells",
    ),
)
_TRANSPARENT = re.compile(
    r"(rnn|multi_rnn_cell|bidirectional_rnn|stack_bidirectional_rnn|cudnn_lstm|cell)(_\d+)?"
)
_INDEXED = re.compile(r"cell[_-](\d+)")


@dataclass
class CellTensors:
    """The tensors of what may be one LSTM cell.

    ``scope`` is its full path in the checkpoint, ``path`` the part of it below the scope asked for,
    ``names`` the stored name of each role (``kernel``, ``bias``, ``w_i_diag``, ...).
    """

    scope: str
    path: str
    names: dict[str, str] = field(default_factory=dict)

    @property
    def from_cudnn(self) -> bool:
        """Whether the scope says that CudnnLSTM trained these weights."""
        return CUDNN_SEGMENT.search(self.scope) is not None

    def keys(self) -> set[CellKey]:
        """The places in a structure of cells that the path may stand for.

        The last part of a path is a cell's own name, which may look like an index (``cell_0``).
        """
        parts = self.path.split("/") if self.path else []
        readings = [structure_key(parts), structure_key(parts[:-1])]
        return {key for key in readings if key is not None}


def structure_key(parts: Sequence[str]) -> CellKey | None:
    key: list[str | int] = []
    for part in parts:
        indexed = _INDEXED.fullmatch(part)
        if indexed:
            key.append(int(indexed[1]))
        elif part in ("fw", "bw"):
            key.append(part)
        elif not _TRANSPARENT.fullmatch(part):
            return None
    return tuple(key)


def find_cells(
    reader: CheckpointReader, scope: str, *, moving_average: bool, ignore: Sequence[str]
) -> tuple[list[CellTensors], list[str]]:
    """Group the tensors under ``scope`` by cell; return the groups and the tensors of no group.

    Optimizer slots, step counters and names in ``ignore`` (tensors, or scopes of them) are left
    out. Raises CheckpointError for a scope without tensors and for weights in another layout.
    """
    inside = scope.strip("/") + "/" if scope.strip("/") else ""
    cells: dict[str, CellTensors] = {}
    others: list[str] = []
    for path, name in weight_paths(reader, moving_average).items():
        if not path.startswith(inside) or _ignored(path, name, ignore):
            continue
        for pattern, reason in _REFUSED:
            if pattern.search(path):
                raise CheckpointError(f"{reader.prefix}: tensor {name!r} {reason}")
        below = path[len(inside) :]
        parts = below.split("/")
        size = 2 if "/".join(parts[-2:]) in ROLES else 1
        role = ROLES.get("/".join(parts[-size:]))
        if role is None:
            others.append(name)
            continue
        cell_path = "/".join(parts[:-size])
        cell = cells.setdefault(cell_path, CellTensors((inside + cell_path).strip("/"), cell_path))
        if role in cell.names:
            raise CheckpointError(
                f"{reader.prefix}: {name!r} and {cell.names[role]!r} are both the {role} of "
                f"{cell.scope!r}; pass one of them in ignore=[...]"
            )
        cell.names[role] = name
    if not cells and not others:
        kind = "moving averages" if moving_average else "weights"
        raise CheckpointError(
            f"{reader.prefix}: no {kind} under scope {scope!r}{scopes_hint(lstm_scopes(reader))}"
        )
    return list(cells.values()), others


def lstm_scopes(reader: CheckpointReader) -> list[str]:
    """Scopes of all that looks like an LSTM cell: a kernel [.., 4H] and a bias [4H]."""
    paths = weight_paths(reader, moving_average=False)
    shapes = reader.get_variable_to_shape_map()
    scopes = []
    for path, name in paths.items():
        scope, _, last = path.rpartition("/")
        bias = paths.get(f"{scope}/{'bias' if last == 'kernel' else 'biases'}".lstrip("/"))
        if ROLES.get(last) != "kernel" or bias is None or len(shapes[name]) != 2:
            continue
        columns = shapes[name][1]
        if columns % 4 == 0 and shapes[bias] == [columns]:
            scopes.append(scope)
    return sorted(scopes)


def scopes_hint(scopes: Sequence[str]) -> str:
    """The sentence that lists LSTM scopes in an error."""
    more = f" and {len(scopes) - 8} more" if len(scopes) > 8 else ""
    return f". LSTM cells there: {', '.join(map(repr, scopes[:8]))}{more}" if scopes else ""


def weight_paths(reader: CheckpointReader, moving_average: bool) -> dict[str, str]:
    """Stored names of all tensors that may be weights, by their plain path."""
    paths: dict[str, str] = {}
    for name, dtype in reader.get_variable_to_dtype_map().items():
        if dtype == "string" or "/.OPTIMIZER_SLOT/" in name:
            continue
        path = name
        if name.endswith(OBJECT_SUFFIX):
            # Attribute paths escape "." as ".." and a "/" inside one attribute's name as ".S".
            path = re.sub(
                r"\.([.S])",
                lambda escape: "." if escape[1] == "." else "/",
                name.removesuffix(OBJECT_SUFFIX),
            )
        paths[path] = name
    if moving_average:
        return {
            path.removesuffix(_MOVING_AVERAGE): name
            for path, name in paths.items()
            if path.endswith(_MOVING_AVERAGE)
        }
    return _weights_only(paths)


def _weights_only(paths: dict[str, str]) -> dict[str, str]:
    """Without optimizer slots (``<variable>/Adam``, or any name below a variable) and counters."""
    return {
        path: name
        for path, name in paths.items()
        if not _SLOT.search(path)
        and not _BOOKKEEPING.fullmatch(path)
        and path.rpartition("/")[0] not in paths
    }


def _ignored(path: str, name: str, ignore: Sequence[str]) -> bool:
    return any(
        name == entry or path == entry or path.startswith(entry.rstrip("/") + "/")
        for entry in ignore
    )
