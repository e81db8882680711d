"""Arrays of others stay alive until the emulated GPU has done with them, and no longer."""

import gc
import os
import sys
import threading
import weakref

import numpy as np
import pytest

import lstmcore
from cuda_emulator import run
from cuda_producers import Interface, Producer
from lstmcore import cuda

RNG = np.random.default_rng(21)
X = RNG.normal(size=(2, 4, 5)).astype(np.float32)


def model(**options):
    return lstmcore.LSTM(5, 6, use_peepholes=True, forget_bias=0.5, seed=3, **options)


def given(shape=(2, 4, 5), **options):
    return Producer(cuda.asarray(RNG.normal(size=shape).astype(np.float32)), **options)


def warm():
    """A model on the GPU that has nothing left to prepare, as that waits."""
    on_gpu = model().to("cuda")
    on_gpu(X)
    on_gpu(X.reshape(8, 5), offsets=[0, 3, 8])
    gc.collect()
    return on_gpu


def outstanding(*producers):
    return [len(each.streams) - each.deleted for each in producers]


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("release", ["call", "synchronize", "model"])
def test_a_capsule_lives_until_its_work_is_done(gpu, versioned, release):
    on_gpu, x = warm(), given(versioned=versioned)
    with gpu.holding():
        waits = gpu.host_waits()
        on_gpu(x)
        on_gpu(cuda.asarray(X))
        gc.collect()
        assert x.deleted == 0
        assert gpu.host_waits() == waits
    assert x.deleted == 0  # nobody has looked
    if release == "call":
        on_gpu(cuda.asarray(X))
    elif release == "synchronize":
        on_gpu.synchronize()
    else:
        del on_gpu
        gc.collect()
    assert x.deleted == 1


def test_an_object_lives_until_its_work_is_done(gpu):
    on_gpu, x = warm(), Interface(cuda.asarray(X))
    there = weakref.ref(x)
    with gpu.holding():
        y = on_gpu(x)
        del x
        gc.collect()
        assert there() is not None
        on_gpu.synchronize()  # the host waits
    assert there() is None
    np.testing.assert_allclose(cuda.asnumpy(y), model()(X), atol=1e-5)


def test_every_argument_is_kept(gpu):
    on_gpu, stream = warm(), gpu.stream()
    x, out, c, h = given(), given((2, 4, 6)), given((2, 6)), given((2, 6))
    packed, packed_out = given((8, 5)), given((8, 6))
    cell = lstmcore.LSTMCell(6, device="cuda")
    steps, cell_c, cell_h = [given((2, 5)) for _ in range(3)], given((2, 6)), given((2, 6))
    lstmcore.static_rnn(cell, [X[:, k] for k in range(3)], dtype=np.float32)
    cell(X[:, 0], cell.zero_state(2, np.float32))
    everything = [x, out, c, h, packed, packed_out, *steps, cell_c, cell_h]
    with gpu.holding():
        on_gpu(x, None, (c, h), out=out, stream=stream)
        on_gpu(packed, offsets=[0, 3, 8], out=packed_out)
        lstmcore.static_rnn(cell, steps, dtype=np.float32)
        cell(steps[0], (cell_c, cell_h))
        assert outstanding(*everything) == [1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    on_gpu.synchronize()
    assert outstanding(*everything) == [0] * 11


def test_lengths_on_the_gpu_are_read_at_once(gpu):
    lengths = Producer(cuda.DeviceArray(cuda.library(), 0, [2], 5, 0), code=0, bits=64)
    lengths.block._write(np.array([3, 1]))
    x, lstm = cuda.asarray(X), model()
    np.testing.assert_allclose(
        cuda.asnumpy(lstm.to("cuda")(x, lengths)), lstm(X, [3, 1]), atol=1e-5
    )
    assert lengths.deleted == 1


def test_they_go_in_order_and_leave_no_events_behind(gpu):
    on_gpu, gone = warm(), []

    class Numbered(Interface):
        def __init__(self, k):
            super().__init__(cuda.asarray(X))
            weakref.finalize(self, gone.append, k)

    with gpu.holding():
        for k in range(5):
            on_gpu(Numbered(k))
    assert gone == []
    on_gpu.synchronize()
    assert gone == list(range(5))
    events = gpu.events()
    for k in range(50):
        on_gpu(Numbered(k))
    assert gpu.events() == events
    assert len(gone) == 55


def test_streams_do_not_wait_for_one_another(gpu):
    on_gpu, first, second = warm(), given(), given()
    with gpu.holding():
        on_gpu(first, stream=gpu.stream())
    with gpu.holding():
        on_gpu(second, stream=gpu.stream())
        assert (first.deleted, second.deleted) == (1, 0)
    on_gpu.synchronize()
    assert second.deleted == 1


def test_calls_that_fail(gpu):
    on_gpu = warm()
    refused, halfway = given(), given()
    with gpu.holding():
        with pytest.raises(ValueError, match="expected shape"):
            on_gpu(refused, out=cuda.asarray(X))
        with pytest.raises(ValueError, match=r"c: expected shape"):
            on_gpu(refused, None, (cuda.asarray(X[0]), cuda.asarray(X[0])))
        assert outstanding(refused) == [0]  # nothing was enqueued
        gpu.fail("cudaLaunchKernelEx", 1, status=1)
        with pytest.raises(RuntimeError, match="cudaLaunchKernelEx"):
            on_gpu(halfway, path="stepwise")
        gpu.heal()
        assert halfway.deleted == 0
    on_gpu.synchronize()
    assert halfway.deleted == 1
    unmarked = [given() for _ in range(20)]
    with gpu.holding():
        gpu.fail("cudaEventCreateWithFlags", 0, count=1000)
        for x in unmarked:  # there are some events from before
            on_gpu(x)
        gpu.heal()
        assert outstanding(*unmarked) == [0] * 20  # the host has waited


def test_a_broken_device_keeps_nothing(gpu):
    on_gpu, x = model().to("cuda"), given()
    gpu.break_device()
    with pytest.raises(RuntimeError, match="cudaErrorIllegalAddress"):
        on_gpu(x)
        on_gpu(x)
    gc.collect()
    assert x.deleted >= 1


def test_a_capture_keeps_nothing(gpu):
    on_gpu, stream, x = warm(), gpu.stream(), given()
    events = gpu.events()
    with gpu.capturing(stream):
        on_gpu(x, stream=stream)
        assert x.deleted == 1
    assert gpu.events() <= events


def test_threads(gpu):
    on_gpu, arrays = model().to("cuda"), [[given() for _ in range(8)] for _ in range(4)]

    def work(mine):
        for x in mine:
            on_gpu(x)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in arrays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    on_gpu.synchronize()
    assert [x.deleted for mine in arrays for x in mine] == [1] * 32


def test_pinned_memory_of_the_host_is_waited_for(gpu):
    pinned = gpu.pinned(40).reshape(X.shape)
    pinned[...] = X
    waits = gpu.host_waits()
    cuda.asarray(X)
    assert gpu.host_waits() == waits
    cuda.asarray(pinned)
    assert gpu.host_waits() == waits + 1


@pytest.mark.parametrize("end", ["pass", "os._exit(0) if os.fork() == 0 else os.wait()"])
def test_the_end_of_the_process(gpu, end):
    code = f"""
import os, sys
sys.path.insert(0, "tests")
from pathlib import Path
import numpy as np
import lstmcore
from cuda_emulator import Emulator
from cuda_producers import Interface, Producer
from lstmcore import cuda
gpu = Emulator(Path({str(gpu.library.parent)!r}))
on_gpu = lstmcore.LSTM(5, 6, seed=3).to("cuda")
x = np.ones((2, 4, 5), np.float32)
on_gpu(x)
holding = gpu.holding()
holding.__enter__()
producer = Producer(cuda.asarray(x))
for given in (producer, Interface(cuda.asarray(x))):
    on_gpu(given)
assert producer.deleted == 0
{end}
print("done")
"""
    assert run([sys.executable, "-c", code], cwd=os.path.dirname(os.path.dirname(__file__))) == (
        "done\n"
    )
