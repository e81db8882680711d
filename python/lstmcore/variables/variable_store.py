"""Finding or creating variables by full name, whole or in parts (TF's variable store)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmcore import dtypes, shared_state
from lstmcore.arrays import Array
from lstmcore.unwinding import all_or_nothing
from lstmcore.variables import initializers
from lstmcore.variables.graph import Graph
from lstmcore.variables.variable import PartitionedVariable, SliceInfo, Variable

Partitioner = Callable[..., Sequence[int]]


class Request(NamedTuple):
    """What ``get_variable`` was asked for, its scope's defaults filled in.

    ``keep`` says whether the graph holds a new variable strongly (see ``graph``).
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: dtypes.DType
    initializer: Any
    reuse: Any
    trainable: bool
    partitioner: Partitioner | None
    keep: bool


class PartitionInfo(NamedTuple):
    """What an initializer with a ``partition_info`` argument learns of the whole variable."""

    full_shape: tuple[int, ...]
    var_offset: tuple[int, ...]


def fixed_size_partitioner(num_shards: int, axis: int = 0) -> Partitioner:
    """A partitioner of ``num_shards`` parts along ``axis``, at most one row each."""

    def partitioner(shape: Sequence[int], dtype: Any = None) -> list[int]:
        partitions = [1] * len(shape)
        partitions[axis] = min(num_shards, shape[axis])
        return partitions

    return partitioner


def find_or_create(graph: Graph, request: Request) -> Variable | PartitionedVariable:
    """The variable that ``request`` names, shared or new as its ``reuse`` tells.

    Raises ValueError, in TensorFlow's words, when the variable exists and may not be shared, does
    not exist and may not be created, or has another shape, dtype or partitioning.
    """
    name = request.name
    with shared_state.lock:
        if request.partitioner is not None and request.shape != ():
            if not callable(request.partitioner):
                raise ValueError(
                    f"Partitioner must be callable, but received: {request.partitioner}"
                )
            return all_or_nothing(graph, _partitioned, graph, request)
        if request.reuse is True and graph.find_partitioned(name) is not None:
            return _partitioned(graph, request)
        if graph.find(f"{name}/part_0") is not None:
            raise ValueError(
                "No partitioner was provided, but a partitioned version of the variable was "
                f"found: {name}/part_0. Perhaps a variable of the same name was already created "
                "with partitioning?"
            )
        return _single(graph, request)


def _single(
    graph: Graph,
    request: Request,
    partition_info: PartitionInfo | None = None,
) -> Variable:
    name, shape, dtype, reuse = request.name, request.shape, request.dtype, request.reuse
    constant = request.initializer is not None and not callable(request.initializer)
    if shape is not None and constant:
        raise ValueError("If initializer is a constant, do not specify shape.")
    found = graph.find(name)
    if found is not None:
        if reuse is False:
            raise ValueError(
                f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or "
                "reuse=tf.AUTO_REUSE in VarScope?"
            )
        _check_shared(f"share variable {name}", shape, dtype, found)
        return found
    if reuse is True:
        raise ValueError(
            f"Variable {name} does not exist, or was not created with tf.get_variable(). Did you "
            "mean to set reuse=tf.AUTO_REUSE in VarScope?"
        )
    value = _initial_value(request, partition_info)
    slice_info = None
    if partition_info is not None:
        full_name = name.rpartition("/part_")[0]
        slice_info = SliceInfo(full_name, partition_info.full_shape, partition_info.var_offset)
    variable = Variable(value, name, request.trainable, slice_info)
    graph.add(name, variable, keep=request.keep)
    return variable


def _check_shared(
    action: str,
    shape: tuple[int, ...] | None,
    dtype: dtypes.DType,
    found: Variable | PartitionedVariable,
) -> None:
    if shape is not None and shape != found.shape:
        raise ValueError(
            f"Trying to {action}, but specified shape {shape} and found shape {found.shape}."
        )
    if dtype != found.dtype:
        raise ValueError(
            f"Trying to {action}, but specified dtype {dtype.name} and found dtype "
            f"{found.dtype.name}."
        )


def _initial_value(request: Request, partition_info: PartitionInfo | None) -> Array:
    name, shape, dtype, initializer = (
        request.name,
        request.shape,
        request.dtype,
        request.initializer,
    )
    if initializer is not None and not callable(initializer):
        return np.asarray(initializer, dtype=dtype)
    if shape is None:
        raise ValueError(
            f"Variable {name} did not get an initializer, so its `shape` argument must be "
            "specified."
        )
    if initializer is None:
        if dtype.kind not in "fbiu":
            raise ValueError(
                f"An initializer for variable {name} of {dtypes.describe(dtype)} is required"
            )
        initializer = initializers.GlorotUniform() if dtype.kind == "f" else initializers.Zeros()
    if inspect.isclass(initializer):
        initializer = initializer()
    extra = {"partition_info": partition_info} if _takes_partition_info(initializer) else {}
    value = np.asarray(initializer(list(shape), dtype=dtype, **extra))
    if value.shape != shape:
        raise ValueError(
            f"The initializer of variable {name} must return shape {shape}, "
            f"it returned {value.shape}"
        )
    return value.astype(dtype, copy=False)


def _takes_partition_info(initializer: Callable[..., Any]) -> bool:
    try:
        return "partition_info" in inspect.signature(initializer).parameters
    except (TypeError, ValueError):  # builtins without a signature
        return False


def _partitioned(graph: Graph, request: Request) -> PartitionedVariable:
    name, dtype, reuse = request.name, request.dtype, request.reuse
    if graph.find(name) is not None:
        raise ValueError(
            "A partitioner was provided, but an unpartitioned version of the variable was found: "
            f"{name}.  Perhaps a variable of the same name was already created without "
            "partitioning?"
        )
    partitions = None
    if request.partitioner is not None:
        partitions = _call_partitioner(request.partitioner, request.shape, dtype)
    found = graph.find_partitioned(name)
    if found is not None:
        if reuse is False:
            raise ValueError(
                f"Partitioned variable with name {name} already exists. Did you mean to set "
                "reuse=True or reuse=tf.AUTO_REUSE in VarScope?"
            )
        _check_shared(f"reuse partitioned variable {name}", request.shape, dtype, found)
        if partitions is not None and tuple(partitions) != found.partitions:
            raise ValueError(
                f"Trying to reuse partitioned variable {name}, but specified partitions "
                f"{list(partitions)} and found partitions {list(found.partitions)}."
            )
        return found
    if reuse is True or partitions is None or request.shape is None:
        raise ValueError(
            f"PartitionedVariable {name} does not exist, or was not created with "
            "tf.get_variable(). Did you mean to set reuse=False or reuse=tf.AUTO_REUSE in VarScope?"
        )
    parts = _create_parts(graph, request, request.shape, partitions)
    whole = PartitionedVariable(name, parts, partitions)
    graph.add_partitioned(name, whole, keep=request.keep)
    return whole


def _create_parts(
    graph: Graph, request: Request, full_shape: tuple[int, ...], partitions: Sequence[int]
) -> list[Variable]:
    parts = []
    for index, (offset, shape) in enumerate(_slices(full_shape, partitions)):
        part = request._replace(name=f"{request.name}/part_{index}", shape=shape, partitioner=None)
        if request.initializer is not None and not callable(request.initializer):
            box = tuple(slice(o, o + s) for o, s in zip(offset, shape, strict=True))
            part = part._replace(initializer=np.asarray(request.initializer)[box], shape=None)
        parts.append(_single(graph, part, PartitionInfo(full_shape, offset)))
    return parts


def _call_partitioner(
    partitioner: Partitioner, shape: tuple[int, ...] | None, dtype: dtypes.DType
) -> Sequence[int]:
    if shape is None:
        raise ValueError(
            "Shape of a new partitioned variable must be fully defined, but instead was None."
        )
    partitions = partitioner(shape=shape, dtype=dtype)
    if not isinstance(partitions, Sequence):
        raise ValueError(f"Partitioner must return a sequence, but saw: {partitions}")
    if len(partitions) != len(shape):
        raise ValueError(
            "Partitioner returned a partition list that does not match the Variable's rank: "
            f"{partitions} vs. {shape}"
        )
    if any(count < 1 for count in partitions):
        raise ValueError(f"Partitioner returned zero partitions for some axes: {partitions}")
    if sum(count > 1 for count in partitions) > 1:
        raise ValueError(
            f"Can only slice a variable along one dimension: shape: {shape}, "
            f"partitioning: {partitions}"
        )
    return partitions


def _slices(
    full_shape: tuple[int, ...], partitions: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(offset, shape) of each part: as even as can be, the larger parts first."""
    axis = next((axis for axis, count in enumerate(partitions) if count > 1), 0)
    count = partitions[axis]
    size, larger = divmod(full_shape[axis], count)
    start = 0
    for index in range(count):
        length = size + (index < larger)
        offset = (0,) * axis + (start,) + (0,) * (len(full_shape) - axis - 1)
        yield offset, (*full_shape[:axis], length, *full_shape[axis + 1 :])
        start += length
