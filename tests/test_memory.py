"""Memory: nothing is taken by warm calls, nothing lost where there is no more, and what is held can
be seen and given back. ``test_memory.cpp`` asks the same of the native core."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore
from lstmcore import raw_ops
from subprocesses import run

TESTS = Path(__file__).parent
F32 = np.float32


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs a function of memory_cases.py with ``counted_memory.cpp`` preloaded."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if not compiler:
        pytest.skip("needs a C++ compiler on the path")
    library = tmp_path_factory.mktemp("counted") / "counted_memory.so"
    command = [compiler, "-std=c++17", "-O1", "-shared", "-fPIC"]
    subprocess.run([*command, TESTS / "counted_memory.cpp", "-o", library], check=True, timeout=120)

    def call(function: str) -> Any:
        done = run(str(TESTS / "memory_cases.py"), function, LD_PRELOAD=str(library))
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["news"] > 0, "operator new of the native module is not the preloaded one"
        return report["found"]

    return call


def test_warm_steps_take_nothing_from_the_system(counted: Any) -> None:
    found = counted("requests")
    requests, _ = found.pop("a call that allocates")
    assert requests >= 1000  # that the rest of this test can fail
    assert len(found) == 24
    assert {name: n for name, (n, _) in found.items() if n} == {}
    # of 1000 calls; a few blocks are the interpreter's own
    assert {name: n for name, (_, n) in found.items() if n > 10} == {}


def test_failed_allocations_raise_memory_error_and_lose_nothing(counted: Any) -> None:
    found = counted("failures")
    assert {name: case["wrong"] for name, case in found.items() if case["wrong"]} == {}
    assert sum(case["failed"] for case in found.values()) > 200
    assert [name for name, case in found.items() if not case["failed"]] == []


LITTLE_MEMORY = """
import resource, numpy as np, lstmcore
cell = lstmcore.LSTMCell(8)
x, state = np.ones((2, 5), np.float32), cell.zero_state(2, np.float32)
expected, _ = cell(x, state)
stream = lstmcore.Stream(cell)
stream.push(x)
kept = [part.copy() for part in stream.state]
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20),) * 2)
big = lstmcore.LSTMCell(6000)
attempts = {
    "cell": lambda: big(x, big.zero_state(2, np.float32)),
    "built cell": lambda: lstmcore.LSTMCell(6000).build(5),
    "LSTM": lambda: lstmcore.LSTM(5, 6000),
    "stream": lambda: lstmcore.Stream(cell, 10**7),
    "bank": lambda: lstmcore.StreamBank(cell, 10**7),
    "push": lambda: stream.push(np.broadcast_to(np.float32(1), (10**7, 5))),
    "zero_state": lambda: cell.zero_state(10**8, np.float32),
}
for name, attempt in attempts.items():
    try:
        attempt()
    except MemoryError:
        print(name)
assert np.array_equal(cell(x, state)[0], expected)
assert all(map(np.array_equal, stream.state, kept))
"""


def test_a_process_that_has_little_memory(tmp_path: Path) -> None:
    done = run("-c", LITTLE_MEMORY, LSTMCORE_NUM_THREADS="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == re.findall(r'^    "(.*)":', LITTLE_MEMORY, re.MULTILINE)


# Sizes that overflow

CELL = lstmcore.LSTMCell(3, name="built")
CELL(np.ones((2, 4), F32), CELL.zero_state(2, F32))
WIDE = np.broadcast_to(F32(1), (2, 2**40))
OVERFLOWING = {
    "num_units": lambda n: lstmcore.LSTMCell(n),
    "num_units of BasicLSTMCell": lambda n: lstmcore.BasicLSTMCell(n),
    "num_units of LSTMBlockCell": lambda n: lstmcore.LSTMBlockCell(n),
    "num_proj": lambda n: lstmcore.LSTMCell(3, num_proj=n),
    "input_size of build": lambda n: lstmcore.LSTMCell(3).build([None, n]),
    "num_units of LSTM": lambda n: lstmcore.LSTM(3, n),
    "num_proj of LSTM": lambda n: lstmcore.LSTM(3, 4, num_proj=n),
    "input_size of LSTM": lambda n: lstmcore.LSTM(n, 4),
    "num_layers of LSTM": lambda n: lstmcore.LSTM(3, 4, n),
    "batch_size of zero_state": lambda n: CELL.zero_state(n, F32),
    "batch_size of a model's zero_state": lambda n: lstmcore.LSTM(3, 4).zero_state(n),
    "batch_size of Stream": lambda n: lstmcore.Stream(CELL, n),
    "input_size of Stream": lambda n: lstmcore.Stream(lstmcore.LSTMCell(3), input_size=n),
    "capacity of StreamBank": lambda n: lstmcore.StreamBank(CELL, n),
    "seq_len_max of BlockLSTM": lambda n: raw_ops.BlockLSTM(
        seq_len_max=n,
        x=np.ones((2, 2, 4), F32),
        cs_prev=np.ones((2, 3), F32),
        h_prev=np.ones((2, 3), F32),
        w=np.ones((7, 12), F32),
        wci=np.ones(3, F32),
        wcf=np.ones(3, F32),
        wco=np.ones(3, F32),
        b=np.ones(12, F32),
    ),
}


def refused_at_once(call: Any, name: str) -> None:
    """Raises as it should, in less than a second and 32 MiB."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises((ValueError, OverflowError, MemoryError), match=f"(?i){name}"):
        call()
    assert time.monotonic() - begun < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


@pytest.mark.parametrize("size", [2**31, 2**62, 2**63 - 1, 2**64 + 1])
@pytest.mark.parametrize("case", OVERFLOWING)
def test_sizes_beyond_any_memory_are_refused_by_name(case: str, size: int) -> None:
    if case.startswith("batch_size of zero_state") and size == 2**31:
        pytest.skip("24 GiB: a size that some have memory for")
    refused_at_once(lambda: OVERFLOWING[case](size), case.split()[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: lstmcore.LSTMCell(2**30).build([None, 2**30]),
        lambda: lstmcore.LSTMCell(2**30, num_proj=2**30).build([None, 4]),
        lambda: lstmcore.BasicLSTMCell(2**30)(np.ones((2, 4), F32), (np.ones((2, 4), F32),) * 2),
        lambda: lstmcore.LSTM(2**30, 2**30),
        lambda: lstmcore.LSTM(4, 2**29, bidirectional=True),
    ],
    ids=["cell", "projection", "call", "LSTM", "bidirectional"],
)
def test_products_of_sizes_that_overflow_are_refused_by_name(call: Any) -> None:
    refused_at_once(call, "num_units|expected|shape")


def test_arrays_that_stand_for_more_than_memory_can_hold() -> None:
    c, h = CELL.zero_state(2, F32)
    refused_at_once(lambda: CELL(WIDE, (c, h)), "")
    refused_at_once(lambda: lstmcore.LSTMCell(3)(WIDE, (c, h)), "input_size")
    many = np.broadcast_to(F32(1), (2**20, 2**20, 4))
    refused_at_once(lambda: lstmcore.dynamic_rnn(CELL, many, dtype=F32), "")
    refused_at_once(lambda: lstmcore.LSTM(4, 3)(many), "")


def test_no_units_and_endless_time_is_no_work() -> None:
    """Such arrays take no memory; a loop over their steps would never end."""
    from lstmcore import _core

    nothing = _core.Lstm(np.empty((0, 0), F32), np.empty(0, F32), num_units=0)
    for shape in ((1, 2**50, 0), (2**50, 1, 0), (0, 2**50, 0)):
        outputs, c, h = nothing.forward(np.empty(shape, F32))
        assert (outputs.shape, c.shape, h.shape) == (shape, (shape[0], 0), (shape[0], 0))
    with pytest.raises(ValueError, match="batch"):
        nothing.forward(np.empty((2**58, 2, 0), F32))


# What is held


def test_workspace_is_reported_and_given_back() -> None:
    code = (
        "import numpy as np, lstmcore as l; assert l.workspace_bytes() == 0 == l.trim()\n"
        "model = l.LSTM(5, 40, 2, num_proj=9); x = np.ones((3, 20, 5), np.float32); y = model(x)\n"
        "held = l.workspace_bytes(); assert held > 0, held\n"
        "model(x[:2]); assert l.workspace_bytes() == held\n"
        "stream = l.Stream(model); stream.push(x[0]); more = l.workspace_bytes() - held\n"
        "assert l.trim() == held and l.workspace_bytes() == more > 0\n"
        "assert stream.trim() == more and l.workspace_bytes() == 0 == stream.trim()\n"
        "stream.push(x[0]); del stream; assert l.workspace_bytes() == 0\n"
        "assert np.array_equal(model(x), y)\n"
    )
    done = run("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_trim_while_other_threads_compute() -> None:
    model = lstmcore.LSTM(5, 40, 2, num_proj=9, seed=1)
    x = np.random.default_rng(0).normal(size=(3, 20, 5)).astype(F32)
    expected, wrong = model(x), []

    def call() -> None:
        for _ in range(200):
            if not np.array_equal(model(x), expected):
                wrong.append(threading.get_ident())

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        lstmcore.trim()
    assert wrong == []


def test_a_stream_in_use_is_not_trimmed_by_another_thread() -> None:
    stream = lstmcore.Stream(lstmcore.LSTM(64, 256, seed=1))
    long, refused = np.ones((20000, 64), F32), 0
    thread = threading.Thread(target=stream.push, args=(long,))
    thread.start()
    while thread.is_alive() and not refused:
        try:
            stream.trim()
        except RuntimeError as error:
            refused += "another thread" in str(error)
    thread.join()
    assert refused == 1
    assert stream.steps == 20000


def test_packed_bytes_are_visible() -> None:
    cell = lstmcore.LSTMCell(8, num_proj=3)
    assert cell.packed_bytes == 0
    cell(np.ones((2, 5), F32), cell.zero_state(2, F32))
    assert cell.packed_bytes >= sum(v.numpy().nbytes for v in cell.weights)
    assert f"packed={cell.packed_bytes} bytes" in repr(cell)
    cell.weights[1].assign(np.ones(32, F32))
    assert cell.packed_bytes == 0
    model = lstmcore.LSTM(5, 8, 2, bidirectional=True)
    assert model.packed_bytes >= sum(value.nbytes for value in model.weights.values())
    assert f"packed={model.packed_bytes} bytes" in repr(model)


def test_a_bank_steps_into_an_array() -> None:
    cell = lstmcore.MultiRNNCell([lstmcore.LSTMCell(8, num_proj=3), lstmcore.LSTMCell(6)])
    bank, twin = (lstmcore.StreamBank(cell, input_size=5) for _ in range(2))
    for one in (bank, twin):
        for _ in range(4):
            one.join()
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(F32)
    out = np.full((4, 6), np.nan, F32)
    assert bank.step_into(x, out) is None
    assert np.array_equal(out, twin.step(x))
    bank.step_into(x[:2], out[1:3], [3, 0])
    assert np.array_equal(out[1:3], twin.step(x[:2], [3, 0]))
    for bad, error, match in (
        (out[:3], ValueError, "out"),
        (out.astype(np.float64), TypeError, "out"),
        (np.empty((6, 4), F32).T, ValueError, "out"),
        (None, TypeError, "out"),
    ):
        with pytest.raises(error, match=match):
            bank.step_into(x, bad)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: expected a writable"):
        bank.step_into(x, out)
    square = lstmcore.StreamBank(lstmcore.LSTMCell(5), input_size=5)
    square.join()
    shared = x[:1].copy()
    with pytest.raises(ValueError, match="share memory"):
        square.step_into(shared, shared)
    assert np.array_equal(bank.step(x), twin.step(x))  # what was refused changed nothing
    assert bank.trim() > 0 == bank.trim()


# Peaks

PEAK = """
import re, sys, numpy as np, lstmcore
from lstmcore.formats import load

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

units, file = 1024, sys.argv[2]
ones = np.ones((1, units), np.float32)
if sys.argv[1] == "load":
    import safetensors
before = peak()
if sys.argv[1] == "save":
    lstmcore.LSTM(units, units, seed=1).save(file)
elif sys.argv[1] == "load":
    model = lstmcore.load(file)
elif sys.argv[1] == "LSTM":
    model = lstmcore.LSTM(units, units)
else:
    initializer = lstmcore.variables.initializers.get(sys.argv[1])
    cell = lstmcore.LSTMCell(units, initializer=initializer)
    cell.build([None, units])
    cell(ones, cell.zero_state(1, np.float32))
print((peak() - before) / (4 * (2 * units * 4 * units + 4 * units)))
"""


def peak_over_weights(what: str, file: Path) -> float:
    done = run("-c", PEAK, what, str(file))
    assert (done.returncode, done.stderr) == (0, "")
    return float(done.stdout)


@pytest.mark.parametrize("what", ["glorot_uniform", "truncated_normal", "random_normal", "LSTM"])
def test_peak_memory_of_building_a_layer(what: str, tmp_path: Path) -> None:
    """The weights, the packed weights, and little else."""
    assert peak_over_weights(what, tmp_path / "none") < 2.5


def test_peak_memory_of_loading(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    file = tmp_path / "model.safetensors"
    peak_over_weights("save", file)
    assert peak_over_weights("load", file) < 2.5


# What initializers gave before they drew in parts.
@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("RandomUniform", lambda r, shape: r.uniform(-0.05, 0.05, shape)),
        ("RandomNormal", lambda r, shape: r.normal(0.0, 0.05, shape)),
        ("GlorotUniform", lambda r, shape: r.uniform(-((6 / 900) ** 0.5), (6 / 900) ** 0.5, shape)),
        ("TruncatedNormal", lambda r, shape: 0.05 * truncated(r, shape)),
        ("HeNormal", lambda r, shape: truncated(r, shape) * (0.1 / 0.87962566103423978)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_seeds_give_the_values_of_a_single_call(name: str, whole: Any, dtype: Any) -> None:
    initializer = getattr(lstmcore.variables.initializers, name)(seed=5)
    shape = (200, 700)  # more than are drawn at once
    expected = whole(np.random.default_rng(5), shape)
    assert np.allclose(initializer(shape, dtype), expected, rtol=1e-6 if dtype is F32 else 1e-14)
    model = lstmcore.LSTM(200, 150, seed=5, dtype=dtype)
    limit = np.sqrt(6 / (350 + 600))
    expected = np.random.default_rng(5).uniform(-limit, limit, (350, 600)).astype(dtype)
    assert np.array_equal(model.weights["layers.0.forward.kernel"], expected)


def truncated(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = random.normal(size=shape)
    while (outside := np.abs(values) > 2.0).any():
        values[outside] = random.normal(size=int(outside.sum()))
    return values
