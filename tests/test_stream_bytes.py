"""``to_bytes`` and ``from_bytes``: states return bit for bit, nothing else is taken for one."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lstmcore
import stream_cases
from lstmcore import _core
from stream_cases import identical

HEADER = 16 + 4 + 4 + 4 + 8 + 8 + 32  # as python/lstmcore/streams/serialized.py says


@settings(deadline=None, max_examples=40)
@given(case=stream_cases.cases(steps=(2,), rows=(0, 1, 3)), single=st.booleans())
def test_round_trip(case: stream_cases.Case, single: bool) -> None:
    rows = case.x.shape[1]
    single = single and rows == 1
    stream = lstmcore.Stream(case.cell, None if single else rows, case.state)
    x = case.x[:, 0].copy() if single else case.x
    stream.step(x[0])
    data = stream.to_bytes()
    for cell in (case.cell, stream):
        again = lstmcore.Stream.from_bytes(cell, data)
        assert (again.batch_size, again.steps) == (stream.batch_size, 1)
        assert identical(again.state, stream.state)
        assert again.to_bytes() == data
    assert identical(again.step(x[1]), stream.step(x[1]))
    assert len(data) == HEADER + 4 * len(stream._model.widths) + 4 + sum(
        part.nbytes for part in lstmcore.nest.flatten(stream.state)
    )


@pytest.fixture
def small() -> lstmcore.Stream:
    case = stream_cases.finished(
        lstmcore.BasicLSTMCell(2, name="lstm"), rows=1, steps=1, inputs=1, dtype="float32"
    )
    return lstmcore.Stream(case.cell, initial_state=case.state)


def test_every_buffer_is_taken(small: lstmcore.Stream) -> None:
    data = small.to_bytes()
    for buffer in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert identical(lstmcore.Stream.from_bytes(small, buffer).state, small.state)
    for wrong in (None, 3, "text", [1]):
        with pytest.raises(TypeError, match=r"data: expected bytes, received"):
            lstmcore.Stream.from_bytes(small, wrong)


def test_every_flipped_bit_is_refused(small: lstmcore.Stream) -> None:
    data = small.to_bytes()
    for index in range(len(data)):
        for bit in range(8):
            wrong = bytearray(data)
            wrong[index] ^= 1 << bit
            with pytest.raises(ValueError, match=r"^data: (not the state of a stream|corrupt)"):
                lstmcore.Stream.from_bytes(small, wrong)


def test_every_truncation_is_refused(small: lstmcore.Stream) -> None:
    data = small.to_bytes()
    for size in range(len(data)):
        for wrong in (data[:size], data[size + 1 :]):
            with pytest.raises(ValueError, match=r"^data: (\d+ bytes are too few|not|corrupt)"):
                lstmcore.Stream.from_bytes(small, wrong)
    with pytest.raises(ValueError, match=r"^data: corrupt"):
        lstmcore.Stream.from_bytes(small, data + b"\0")


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_other_data_is_refused(data: bytes) -> None:
    cell = lstmcore.BasicLSTMCell(2)
    with lstmcore.Graph().as_default():
        stream = lstmcore.Stream(cell, input_size=1)
    for wrong in (data, b"LSTMCORE-STREAM\n" + data):
        with pytest.raises(ValueError, match=r"^data: "):
            lstmcore.Stream.from_bytes(stream, wrong)


def resealed(data: bytes, offset: int, layout: str, value: Any) -> bytes:
    """``data`` with another value at ``offset`` and a CRC that fits."""
    content = bytearray(data[:-4])
    struct.pack_into(layout, content, offset, value)
    return bytes(content) + struct.pack("<I", _core.crc32c(content))


@pytest.mark.parametrize(
    ("offset", "layout", "value", "message"),
    [
        (16, "<I", 2, "has format 2, this lstmcore reads format 1"),
        (20, "2s", b"f8", "the state has dtype f8, lstm has f4"),
        (20, "2s", b"\xff\0", "the state has dtype"),
        (24, "<I", 1, "layers of"),
        (24, "<I", 2**32 - 1, "its header makes no sense"),
        (28, "<q", -2, "its header makes no sense"),
        (28, "<q", 2, "the size of the state is not that of its header"),
        (28, "<q", 2**62, "the size of the state is not that of its header"),
        (36, "<q", -1, "its header makes no sense"),
        (44, "B", 1, "has other weights or options"),
        (
            HEADER,
            "<I",
            3,
            r"layers of \(num_units, output_size\) \[\(3, 2\)\], .* has \[\(2, 2\)\]",
        ),
    ],
)
def test_forged_headers(
    small: lstmcore.Stream, offset: int, layout: str, value: Any, message: str
) -> None:
    data = small.to_bytes()
    with pytest.raises(ValueError, match=f"^data: .*{message}"):
        lstmcore.Stream.from_bytes(small, resealed(data, offset, layout, value))


def test_states_of_other_models_are_refused() -> None:
    def cell(units: int = 4, dtype: str = "float32", seed: int = 1, **options: Any) -> Any:
        full = lstmcore.LSTMCell(units, **options)
        return stream_cases.finished(full, rows=1, steps=1, inputs=3, dtype=dtype, seed=seed).cell

    first = cell()
    data = lstmcore.Stream(first).to_bytes()
    lstmcore.Stream.from_bytes(cell(), data)  # an equal one is as good
    for other, message in (
        (cell(units=5), "layers of"),
        (stream_cases.make().cell, "layers of"),
        (cell(dtype="float64"), "dtype f4, .* f8"),
        (cell(seed=2), "other weights or options"),
        (cell(forget_bias=0.5), "other weights or options"),
        (cell(cell_clip=3.0), "other weights or options"),
        (cell(activation="relu"), "other weights or options"),
    ):
        with pytest.raises(ValueError, match=f"^data: .*{message}"):
            lstmcore.Stream.from_bytes(other, data)
    first.weights[1].assign(first.weights[1].numpy() + 1)
    with pytest.raises(ValueError, match="other weights"):
        lstmcore.Stream.from_bytes(first, data)
