"""Seeded mutations of checkpoints: one CheckpointError or the right answer, fast and small."""

from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path

import numpy as np

import checkpoint_writer as writer
from checkpoint_cases import DATA, HEADER, A, B, good, partitioned
from lstmcore.checkpoint import load_checkpoint
from lstmcore.errors import CheckpointError


def _sample(folder):
    rng = np.random.default_rng(11)
    tensors = {
        "rnn/lstm_cell/kernel": rng.normal(size=(7, 8)).astype(np.float32),
        "rnn/lstm_cell/bias": rng.normal(size=8).astype(np.float16),
        "global_step": np.int64(77),
        "table": writer.Partitioned(
            (5, 3),
            [((0, 0), rng.normal(size=(2, 3))), ((2, 0), rng.normal(size=(3, 3)))],
        ),
    }
    prefix = Path(writer.write(folder / "m", tensors, num_shards=2))
    reader = load_checkpoint(prefix)
    expected = {n: np.array(reader.get_tensor(n)) for n in reader.get_variable_to_shape_map()}
    return prefix, expected


def _mutated(data, rng):
    """``data`` with flipped bits, cut, grown, overwritten or with a piece repeated."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        kind, at = rng.randrange(5), rng.randrange(len(data) or 1)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at : at + rng.randrange(10)] = rng.choice((b"\xff" * 10, b"\0" * 8, b"\x80" * 11))
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            data[at:at] = data[at : at + rng.randrange(40)]
    return bytes(data)


def _read_all(prefix):
    reader = load_checkpoint(prefix)
    return {n: np.array(reader.get_tensor(n)) for n in reader.get_variable_to_shape_map()}


def test_mutated_files_give_an_error_or_the_right_answer(tmp_path):
    prefix, expected = _sample(tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    rng = random.Random(20)
    outcomes = {"error": 0, "right": 0}
    for _ in range(1500):
        path = rng.choice(list(files))
        path.write_bytes(_mutated(files[path], rng))
        try:
            got = _read_all(prefix)
        except CheckpointError:
            outcomes["error"] += 1
        else:
            outcomes["right"] += 1
            assert got.keys() == expected.keys()
            for name, values in expected.items():
                assert np.array_equal(got[name], values)
        path.write_bytes(files[path])
    assert min(outcomes.values()) > 10, outcomes


def test_mutations_behind_valid_checksums_only_raise_checkpoint_errors(tmp_path):
    """Blocks are mutated and sealed again; an answer may differ then, but nothing may break."""
    prefix, _ = _sample(tmp_path)
    items = [HEADER]
    items += [(name, good(offset=12 * i)) for i, name in enumerate((b"a/kernel", b"b", b"c/d"))]
    items += partitioned((6,), [A, B], [(A, good(offset=60)), (B, good(offset=72))])[1:]
    block = writer.block(sorted(items))
    handles = writer.block([(b"z", writer.varint(0) + writer.varint(len(block)))], 1)
    (tmp_path / "m.data-00000-of-00001").write_bytes(DATA * 8)
    rng = random.Random(4)
    outcomes = {"error": 0, "answer": 0}
    slowest, peak = 0.0, 0
    metaindex = writer.sealed(writer.block([]))
    tracemalloc.start()
    for i in range(1500):
        data_block = _mutated(block, rng) if i % 4 else block
        index_block = handles if i % 4 else _mutated(handles, rng)
        out = writer.sealed(data_block) + metaindex
        places = (len(data_block) + 5, len(metaindex) - 5), (len(out), len(index_block))
        index = out + writer.sealed(index_block) + writer.footer(*places)
        Path(f"{prefix}.index").write_bytes(index)
        start = time.perf_counter()
        try:
            _read_all(prefix)
            outcomes["answer"] += 1
        except CheckpointError:
            outcomes["error"] += 1
        slowest = max(slowest, time.perf_counter() - start)
        if i == 300:  # tracing makes everything several times slower
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert min(outcomes.values()) > 10, outcomes
    assert slowest < 1
    assert 0 < peak < 4 << 20
