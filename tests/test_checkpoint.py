"""The checkpoint reader on files that TensorFlow wrote and on well-formed ones of our writer."""

from __future__ import annotations

import itertools
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import checkpoint_writer as writer
from lstmcore._core import crc32c
from lstmcore.checkpoint import (
    CheckpointReader,
    list_variables,
    load_checkpoint,
)
from lstmcore.errors import CheckpointError
from make_checkpoints import golden_values

GOLDEN = Path(__file__).parent / "golden" / "checkpoint"


@pytest.fixture(scope="module")
def types():
    return load_checkpoint(GOLDEN / "types")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "int64"])
def test_types_written_by_tensorflow(types, dtype):
    values = types.get_tensor(f"types/{dtype}")
    assert values.dtype == dtype
    assert types.get_variable_to_dtype_map()[f"types/{dtype}"] == dtype
    np.testing.assert_array_equal(values, golden_values(f"types/{dtype}", (3, 5)).astype(dtype))


def test_bfloat16_comes_as_exact_float32(types):
    values = types.get_tensor("types/bfloat16")
    assert values.dtype == np.float32
    assert types.get_variable_to_dtype_map()["types/bfloat16"].name == "bfloat16"
    np.testing.assert_array_equal(values, golden_values("types/bfloat16", (3, 5)))


def test_bfloat16_special_values(tmp_path):
    bits = np.array([0x0001, 0x8000, 0x7F80, 0xFF80, 0x7FC1, 0x3F81], "<u2")
    prefix = writer.write(tmp_path / "m", {"x": writer.Raw(writer.BFLOAT16, (6,), bits.tobytes())})
    got = load_checkpoint(prefix).get_tensor("x").view(np.uint32)
    np.testing.assert_array_equal(got, bits.astype(np.uint32) << 16)


@pytest.mark.parametrize("name", ["partitioned/rows", "partitioned/columns"])
def test_partitioned_variable_written_by_tensorflow(types, name):
    assert types.get_variable_to_shape_map()[name] == [100, 8]
    values = types.get_tensor(name)
    np.testing.assert_array_equal(values, golden_values(name, (100, 8)))
    assert not values.flags.writeable


def test_two_shards_written_by_tensorflow():
    reader = load_checkpoint(GOLDEN / "sharded")
    assert reader.get_variable_to_shape_map() == {
        "on/cpu0": [3, 2],
        "on/cpu1": [3, 2],
        "split": [5, 2],
    }
    for name, shape in reader.get_variable_to_shape_map().items():
        np.testing.assert_array_equal(reader.get_tensor(name), golden_values(name, tuple(shape)))


def test_scalar_is_a_numpy_scalar_as_in_tensorflow(types):
    step = types.get_tensor("global_step")
    assert isinstance(step, np.int64)
    assert step == int(golden_values("global_step", ()))


def test_empty_tensor(types):
    assert types.get_tensor("empty").shape == (0, 4)


def test_unread_types_are_listed_and_refused_by_name(types):
    assert types.get_variable_to_dtype_map()["types/bool"] == "bool"
    with pytest.raises(CheckpointError, match=r"'types/bool' is of type bool.*float16"):
        types.get_tensor("types/bool")
    objects = load_checkpoint(GOLDEN / "objects")
    assert objects.get_variable_to_dtype_map()["_CHECKPOINTABLE_OBJECT_GRAPH"].name == "string"
    with pytest.raises(CheckpointError, match=r"_CHECKPOINTABLE_OBJECT_GRAPH.*string"):
        objects.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")


def test_dtypes_answer_like_tensorflows(types):
    dtypes = types.get_variable_to_dtype_map()
    half = dtypes["types/float16"]
    assert repr(half) == "<dtype: 'float16'>"
    assert half == np.float16
    assert half == np.dtype("float16")
    assert half != np.float32
    assert half.as_numpy_dtype is np.float16
    assert dtypes["types/bfloat16"].as_numpy_dtype is np.float32
    assert len({half, dtypes["types/float32"], dtypes["types/float16"]}) == 2


def test_unknown_name_suggests_near_ones(types):
    assert not types.has_tensor("types/float31")
    with pytest.raises(CheckpointError, match=r"^Key types/float31 not found.*types/float32"):
        types.get_tensor("types/float31")


def test_arrays_are_read_only_views_where_aligned(tmp_path):
    array = np.arange(6, dtype=np.float64).reshape(2, 3) + 0.5
    reader = load_checkpoint(writer.write(tmp_path / "m", {"a": array}))
    got = reader.get_tensor("a")
    with pytest.raises(ValueError, match="read-only"):
        got[0, 0] = 1
    assert np.shares_memory(got, reader.get_tensor("a"))

    reader = load_checkpoint(writer.write(tmp_path / "n", {"a": array}, gap=3))
    got = reader.get_tensor("a")
    assert got.flags.aligned
    assert not got.flags.writeable
    np.testing.assert_array_equal(got, array)


def test_tensors_outlive_the_reader(tmp_path):
    got = load_checkpoint(writer.write(tmp_path / "m", {"a": np.float32([1.5, 2])})).get_tensor("a")
    np.testing.assert_array_equal(got, np.float32([1.5, 2]))


def test_list_variables_needs_no_data_file(tmp_path):
    shutil.copy(GOLDEN / "sharded.index", tmp_path / "only.index")
    assert list_variables(tmp_path / "only") == [
        ("on/cpu0", [3, 2]),
        ("on/cpu1", [3, 2]),
        ("split", [5, 2]),
    ]
    with pytest.raises(CheckpointError, match=r"only\.data-0000\d-of-00002.*no such file"):
        load_checkpoint(tmp_path / "only").get_tensor("split")


DTYPES = ["float16", "float32", "float64", "int8", "uint8", "int16", "uint16"]
DTYPES += ["int32", "uint32", "int64", "uint64"]


@settings(deadline=None, max_examples=40)
@given(
    shapes=st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=12),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=12, max_size=12),
    num_shards=st.integers(1, 4),
    gap=st.integers(0, 3),
)
def test_whatever_is_written_is_read(tmp_path_factory, shapes, dtypes, num_shards, gap):
    rng = np.random.default_rng(3)
    tensors = {
        f"scope/{'deep/' * (i % 3)}variable_{i}": rng.integers(1, 100, shape).astype(dtype)
        for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=False))
    }
    prefix = writer.write(tmp_path_factory.mktemp("w") / "m", tensors, num_shards, gap)
    reader = load_checkpoint(prefix)
    assert reader.get_variable_to_shape_map() == {k: list(v.shape) for k, v in tensors.items()}
    for name, array in tensors.items():
        got = reader.get_tensor(name)
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    columns=st.lists(st.integers(1, 150), min_size=1, max_size=3),
    num_shards=st.integers(1, 3),
)
def test_partitions_in_two_dimensions(tmp_path_factory, rows, columns, num_shards):
    shape = (sum(rows), sum(columns))
    whole = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape) + 1
    parts = []
    for i, height in enumerate(rows):
        for j, width in enumerate(columns):
            top, left = sum(rows[:i]), sum(columns[:j])
            parts.append(((top, left), whole[top : top + height, left : left + width]))
    prefix = writer.write(
        tmp_path_factory.mktemp("p") / "m", {"v": writer.Partitioned(shape, parts)}, num_shards
    )
    np.testing.assert_array_equal(load_checkpoint(prefix).get_tensor("v"), whole)


def test_partition_bounds_on_each_side_of_a_longer_ordered_code(tmp_path):
    """Numbers take one byte below 64, two below 8192, then three."""
    whole = np.arange(8400, dtype=np.uint16)
    bounds = (0, 63, 64, 127, 8191, 8192, 8255, 8400)
    parts = [((a,), whole[a:b]) for a, b in itertools.pairwise(bounds)]
    prefix = writer.write(tmp_path / "m", {"v": writer.Partitioned((8400,), parts)})
    np.testing.assert_array_equal(load_checkpoint(prefix).get_tensor("v"), whole)


def test_scalar_partitioned_into_one_whole_slice(tmp_path):
    part = writer.Partitioned((), [((), np.float32(2.5))])
    assert load_checkpoint(writer.write(tmp_path / "m", {"v": part})).get_tensor("v") == 2.5


def test_many_variables_take_many_blocks(tmp_path):
    tensors = {f"layer_{i:04d}/kernel": np.int32([i]) for i in range(700)}
    reader = load_checkpoint(writer.write(tmp_path / "m", tensors))
    assert len(reader.get_variable_to_shape_map()) == 700
    assert [int(reader.get_tensor(name)[0]) for name in tensors] == list(range(700))


def test_threads_share_one_reader():
    reader = CheckpointReader(GOLDEN / "model")
    names = [n for n, s in list_variables(GOLDEN / "model") if "Adam" not in n and s]
    wrong = []

    def read():
        for name in names:
            values = reader.get_tensor(name)
            if not np.array_equal(values, golden_values(name, values.shape)):
                wrong.append(name)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names
    assert wrong == []


@settings(deadline=None, max_examples=50)
@given(data=st.binary(max_size=300))
def test_native_crc_equals_the_table_of_the_writer(data):
    assert crc32c(data) == writer.crc32c(data)
    assert crc32c(data[7:], crc32c(data[:7])) == writer.crc32c(data)
