"""``tf.train.Saver``: sets variables from a checkpoint by their names. It does not write."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.checkpoint.names import lstm_scopes
from lstmcore.checkpoint.reader import CheckpointReader
from lstmcore.errors import CheckpointError
from lstmcore.variables.graph import get_default_graph
from lstmcore.variables.variable import PartitionedVariable, Variable

_log = logging.getLogger("lstmcore")

# A variable, or a part of one, and the name of its tensor.
_Target = tuple[Variable, str]


class Saver:
    """Restores the variables of a model, LSTM cells and all others, each from its own tensor.

    Args:
        var_list: variables, or a dict of them by tensor name; None is all of the default graph,
            those included that are made until ``restore`` is called.
        reshape: must be False. The other arguments concern writing and have no meaning here.
    """

    def __init__(
        self,
        var_list: Any = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        **writing: Any,
    ) -> None:
        if reshape:
            raise NotImplementedError("tf.train.Saver(reshape=True) is not offered by lstmcore")
        self._graph = get_default_graph()
        self._targets = None if var_list is None else _targets(var_list)

    def restore(self, sess: Any, save_path: Any) -> None:
        """Assigns every variable its tensor of the checkpoint; nothing unless all of them fit.

        A cell makes its variables at its first call, so call the model once before. float16,
        bfloat16 and float32 are widened for variables of more digits. Arguments that are not
        stored, such as ``forget_bias``, stay those that the cells were made with.

        Args:
            sess: no meaning here; may be None.
            save_path: what ``lstmcore.load_checkpoint`` takes, or a reader.

        Raises:
            ValueError: no path, or no variables.
            CheckpointError: unreadable files, missing tensors, shapes or dtypes that do not fit;
                all of them are named.
        """
        if save_path is None:
            raise ValueError("Can't load save_path when it is None.")
        reader = save_path if isinstance(save_path, CheckpointReader) else None
        reader = CheckpointReader(save_path) if reader is None else reader
        everything = self._targets is None
        targets = _targets(self._graph.global_variables()) if everything else self._targets
        if not targets:
            raise ValueError(
                "No variables to restore: cells make theirs at the first call, so call the model "
                "once before"
            )
        _check(reader, targets)
        values = [_value(reader, *target) for target in targets]
        for (variable, _), value in zip(targets, values, strict=True):
            variable.check_assignable(value)
        for (variable, _), value in zip(targets, values, strict=True):
            variable.assign(value)
        if everything:
            _report_cells_left_out(reader, {name for _, name in targets})

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raises NotImplementedError: lstmcore only reads checkpoints."""
        raise NotImplementedError(
            "tf.train.Saver.save does not exist in lstmcore, which only reads checkpoints: keep "
            "weights with numpy.savez and set them with set_weights or assign"
        )


def _targets(var_list: Any) -> list[_Target]:
    """Every variable with the name of its tensor; parts have that of the whole."""
    pairs: list[tuple[Any, str | None]]
    if isinstance(var_list, Mapping):
        pairs = [(variable, str(name)) for name, variable in var_list.items()]
    else:
        pairs = [(variable, None) for variable in var_list]
    return [target for variable, name in pairs for target in _target(variable, name)]


def _target(variable: Any, name: str | None) -> Iterable[_Target]:
    if isinstance(variable, (PartitionedVariable, list, tuple)):
        return [target for part in variable for target in _target(part, name)]
    if not isinstance(variable, Variable):
        raise TypeError(f"Variable to save is not a Variable: {variable!r}")
    if name is None:
        whole = variable.slice_info
        name = variable.op.name if whole is None else whole.full_name
    return [(variable, name)]


def _check(reader: CheckpointReader, targets: Iterable[_Target]) -> None:
    """Raises CheckpointError naming every tensor that is missing or does not fit."""
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    problems: dict[str, None] = {}  # parts of one variable have the same
    for variable, name in targets:
        whole = variable.slice_info
        shape = list(variable.shape if whole is None else whole.full_shape)
        if name not in shapes:
            problems[f"no tensor {name!r}"] = None
        elif shapes[name] != shape:
            problems[f"tensor {name!r} has shape {shapes[name]}, the variable {shape}"] = None
        elif not _widens(dtypes[name], variable.dtype):
            problems[
                f"tensor {name!r} has dtype {dtypes[name].name}, the variable {variable.dtype.name}"
            ] = None
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise CheckpointError(
            f"{reader.prefix}: {len(problems)} of the variables cannot be restored, none was "
            f"changed: {'; '.join(list(problems)[:8])}{more}"
        )


def _widens(stored: Any, own: np.dtype[Any]) -> bool:
    if stored.stored is None:
        return False
    read = np.dtype(stored.as_numpy_dtype)
    return read.kind == own.kind and np.can_cast(read, own, "safe")


def _value(reader: CheckpointReader, variable: Variable, name: str) -> Array:
    value = np.asarray(reader.get_tensor(name))
    if variable.slice_info is None:
        return value
    ranges = zip(variable.slice_info.offset, variable.shape, strict=True)
    return value[tuple(slice(start, start + size) for start, size in ranges)]


def _report_cells_left_out(reader: CheckpointReader, restored: set[str]) -> None:
    """Warns of cells that the checkpoint has and the model did not: perhaps not made yet."""
    left = [
        scope
        for scope in lstm_scopes(reader)
        if not any(name.rpartition("/")[0] == scope for name in restored)
    ]
    if left:
        _log.warning(
            "%s has LSTM cells under %s that no variable was restored from: a cell that is called "
            "later starts with initial values",
            reader.prefix,
            ", ".join(map(repr, left[:8])),
        )


__all__ = ["Saver"]
