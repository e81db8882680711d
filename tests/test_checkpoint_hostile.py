"""Corrupt, truncated and hostile checkpoints: one CheckpointError, or the right answer.

Each file is wrong in one place and right elsewhere, checksums included, so that every check is
reached behind the checksums.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest

import checkpoint_writer as writer
from checkpoint_cases import CRC, DATA, F32, HEADER, SECOND, A, B, good, partitioned
from lstmcore.checkpoint import load_checkpoint
from lstmcore.errors import CheckpointError


@pytest.fixture
def refused(tmp_path):
    """Writes a checkpoint and returns the message of the error that reading all of it raises."""

    def read(items=None, *, index=None, shards=(DATA,)):
        writer.write_files(tmp_path / "m", items or [HEADER], shards)
        if index is not None:
            (tmp_path / "m.index").write_bytes(index)
        with pytest.raises(CheckpointError) as error:
            reader = load_checkpoint(tmp_path / "m")
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        assert str(tmp_path / "m") in str(error.value)
        return str(error.value)

    return read


def test_the_pattern_is_good(tmp_path):
    writer.write_files(tmp_path / "m", [HEADER, (b"v", good())], [DATA])
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "m").get_tensor("v"), [1.5, -2, 3])


# The index as a table


def test_empty_and_short_files(refused):
    assert "48 bytes, got 0 bytes" in refused(index=b"")
    assert "got 47 bytes" in refused(index=b"\0" * 47)


def test_wrong_magic(refused):
    assert "expected the table magic" in refused(index=writer.table([HEADER])[:-1] + b"\1")


def test_block_checksum(refused):
    index = bytearray(writer.table([HEADER, (b"v", good())]))
    index[20] ^= 4
    assert "checksum mismatch" in refused(index=bytes(index))


def test_snappy_block_has_a_hint(refused):
    message = refused(index=writer.table([HEADER], compression=1))
    assert "Snappy" in message
    assert "save the checkpoint again" in message


def test_unknown_compression(refused):
    assert "unknown compression type 7" in refused(index=writer.table([HEADER], compression=7))


def _index(data_block, *, handles=None, metaindex=None):
    """An index file around one hand-made data block."""
    out = writer.sealed(data_block)
    handles = handles or [(b"z", writer.varint(0) + writer.varint(len(data_block)))]
    places = []
    for content in (metaindex or writer.block([]), writer.block(handles, 1)):
        places.append((len(out), len(content)))
        out += writer.sealed(content)
    return out + writer.footer(*places)


HUGE = writer.varint((1 << 64) - 1)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (b"", "0 restart positions do not fit"),
        (b"\xff\xff\xff\xff", "4294967295 restart positions do not fit"),
        (writer.varint(3) + b"\1\1ab" + struct.pack("<2I", 0, 1), "wants 3 shared"),
        (b"\0" + HUGE + b"\1ab" + struct.pack("<2I", 0, 1), "18446744073709551615 own"),
        (b"\0\1" + HUGE + b"ab" + struct.pack("<2I", 0, 1), "18446744073709551615 value"),
        (b"\x80" * 20 + struct.pack("<2I", 0, 1), "does not fit in 64 bits"),
        (b"\xff" * 9 + b"\x7f\1\1" + struct.pack("<2I", 0, 1), "does not fit in 64 bits"),
        (b"\0\1\x80" + struct.pack("<2I", 0, 1), "expected a varint"),
    ],
)
def test_malformed_blocks(refused, block, message):
    assert message in refused(index=_index(block))


@pytest.mark.parametrize(
    "handle",
    [
        writer.varint(1 << 40) + writer.varint(8),
        writer.varint(0) + HUGE,
        HUGE + HUGE,
        writer.varint(0) + writer.varint(5000),
    ],
)
def test_block_outside_the_file(refused, handle):
    block = writer.block([HEADER])
    assert "but the blocks end at byte" in refused(index=_index(block, handles=[(b"z", handle)]))
    places = handle.ljust(40, b"\0")
    assert "footer" in refused(
        index=_index(block)[:-48] + b"\xff" * 40 + writer.footer((0, 0), (0, 0))[-8:]
    )
    assert refused(index=_index(block)[:-48] + places + writer.footer((0, 0), (0, 0))[-8:])


def test_one_block_cannot_be_listed_again(refused):
    block = writer.block([HEADER, (b"v", good())])
    handle = writer.varint(0) + writer.varint(len(block))
    assert "overlaps" in refused(index=_index(block, handles=[(b"y", handle), (b"z", handle)]))


def test_keys_must_ascend(refused):
    for items in (
        [HEADER, (b"b", good()), (b"a", good())],
        [HEADER, (b"a", good()), (b"a", good())],
    ):
        assert "is not above" in refused(items)


def test_no_header(refused):
    assert "expected the header" in refused([(b"v", good())])
    assert "got nothing" in refused(index=_index(writer.block([])))


def test_expansion_of_ascending_keys_is_bounded(refused):
    """Every key one byte longer than the last: 4 bytes each in the file, quadratic unpacked."""
    value = good(size=0, shape=(0,))
    out = bytearray(b"\0\0" + writer.varint(len(HEADER[1])) + HEADER[1])
    for length in range(3000):
        out += writer.varint(length) + b"\1" + writer.varint(len(value)) + b"a" + value
    out += struct.pack("<2I", 0, 1)
    assert "keys unpack to more than" in refused(index=_index(bytes(out)))


# Header and entries


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (writer.header(endianness=1), "big-endian"),
        (writer.header(endianness=7), "expected little-endian"),
        (writer.header(num_shards=0), "at least 1 data shard, got 0"),
        (writer.header(num_shards=-1), "at least 1 data shard, got -1"),
        (writer.header(num_shards=1 << 40), "at least 1 data shard"),
        (writer.header(min_consumer=2), "needs a reader of format version 2"),
        (b"\x08", "expected a varint"),
        (b"\x0b", "wire type 3"),
        (b"\x0d\1\1\1\1", "wire type 5, expected 0"),
        (b"\x00\x01", "field number 0"),
        (b"\x1a\x7f", "a field of 127 bytes"),
        (b"\x1a" + HUGE, "a field of 18446744073709551615 bytes"),
    ],
)
def test_bad_headers(refused, header, message):
    assert message in refused([(b"", header)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code": 0}, "dtype code 0"),
        ({"code": 99}, "dtype code 99"),
        ({"code": -5}, "dtype code -5"),
        ({"shape": (4,)}, "takes 16 bytes, stored are 12"),
        ({"shape": (-3,)}, "cannot be"),
        ({"shape": (3, 0)}, "takes 0 bytes, stored are 12"),
        ({"shape": (0, 1 << 62), "size": 0}, "cannot be"),
        ({"shape": (1 << 31, 1 << 31), "size": 1 << 62}, "cannot be"),
        ({"shape": (1 << 62, 4), "size": 0}, "cannot be"),
        ({"shape": (1,) * 33}, "rank 33"),
        ({"shard": 1}, "shard 1, but"),
        ({"shard": -1}, "shard -1, but"),
        ({"offset": -4}, "cannot be"),
        ({"size": -12}, "cannot be"),
        ({"offset": 1}, "it is truncated"),
        ({"offset": (1 << 63) - 1}, "it is truncated"),
        ({"shape": (1 << 40,), "size": 1 << 42}, "it is truncated"),
        ({"crc": CRC ^ 1}, "checksum mismatch"),
    ],
)
def test_bad_entries(refused, changes, message):
    assert message in refused([HEADER, (b"v", good(**changes))])


def test_unknown_rank(refused):
    shape = writer.blob(2, writer.number(3, 1))
    assert "unknown rank" in refused([HEADER, (b"v", writer.number(1, F32) + shape)])


def test_huge_index_is_refused_unread(tmp_path):
    with open(tmp_path / "m.index", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match="got 1099511627776"):
        load_checkpoint(tmp_path / "m")


def test_name_that_is_not_utf8(refused):
    assert "not UTF-8" in refused([HEADER, (b"v\xff", good())])


def test_tensors_may_not_share_bytes(refused):
    assert "share the bytes" in refused([HEADER, (b"v", good()), (b"w", good())])


def test_flipped_bit_in_the_data(refused):
    data = bytearray(DATA)
    data[7] ^= 1
    assert "checksum mismatch" in refused([HEADER, (b"v", good())], shards=[bytes(data)])


@pytest.mark.parametrize("length", [0, 1, 11])
def test_truncated_data(refused, length):
    message = refused([HEADER, (b"v", good())], shards=[DATA[:length]])
    assert f"the file has {length} bytes" in message


def test_missing_data_file(tmp_path):
    writer.write_files(tmp_path / "m", [HEADER, (b"v", good())], [])
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path / "m").get_tensor("v")


# Slices


@pytest.mark.parametrize(
    ("shape", "extents", "parts", "message"),
    [
        ((6,), [A, B], [(A, good())], "has no entry of its own"),
        ((6,), [A, A], [(A, good())], "is named twice"),
        ((6,), [A], [(A, good()), (B, good(**SECOND))], "slice of no variable"),
        ((6,), [A], [(A, good())], "has 6 elements, its slices hold 3"),
        ((5,), [A, B], [(A, good()), (B, good(**SECOND))], "slice from 3 of length 3"),
        ((6,), [A, [(2, 3)]], [(A, good()), ([(2, 3)], good(**SECOND))], "overlap"),
        ((6,), [[(-1, 3)], B], [], "slice from -1"),
        ((6,), [[(0, 3), (0, 1)]], [], "2 dimensions in a variable"),
        ((1 << 40,), [A], [(A, good())], "its slices hold 3"),
        ((6,), [A, B], [(A, good()), (B, good(shape=(3, 1), **SECOND))], "expected (3,) of"),
        ((6,), [A, B], [(A, good()), (B, good(code=3, **SECOND))], "of int32"),
        ((6,), [A, B], [(A, good()), (B, good(slices=[A]))], "has no entry"),
    ],
)
def test_bad_partitions(refused, shape, extents, parts, message):
    assert message in refused(partitioned(shape, extents, parts), shards=[DATA * 2])


def test_thousands_of_slices_of_the_same_bytes(refused):
    extents = [[(3 * i, 3)] for i in range(2000)]
    items = partitioned((6000,), extents, [(e, good()) for e in extents])
    assert "share the bytes" in refused(items)
