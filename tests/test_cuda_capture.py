"""Calls inside a stream capture, on the emulated GPU: what a replay of the graph gives."""

import gc

import numpy as np
import pytest

import lstmcore
from lstmcore import cuda

RNG = np.random.default_rng(11)
N, T = 3, 6
LENGTHS = [6, 2, 5]


def inputs(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def model(**options):
    settings = {"use_peepholes": True, "forget_bias": 0.5, "seed": 3}
    return lstmcore.LSTM(5, 13, 2, **{**settings, **options})


def close(got, want, limit=2e-5):
    got = got if isinstance(got, np.ndarray) else cuda.asnumpy(got, np.float32)
    np.testing.assert_allclose(got, want, rtol=0, atol=limit)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("path", ["stepwise", "block", "cluster", "grid"])
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 2e-5), ("bfloat16", 5e-2)])
def test_a_graph_replays(gpu, path, warm, dtype, limit):
    lstm, stream, other = model(bidirectional=True), gpu.stream(), gpu.stream()
    on_gpu = lstm.to("cuda", dtype)
    x, out = (
        cuda.asarray(np.zeros((N, T, size), np.float32), dtype, stream=stream) for size in (5, 26)
    )
    state = [(inputs(N, 13) / 9, inputs(N, 13) / 7) for _ in range(4)]
    there = [
        (cuda.asarray(c, stream=stream), cuda.asarray(h, dtype, stream=stream)) for c, h in state
    ]
    for _ in range(2 * warm):  # the second makes the model's own graphs
        on_gpu(x, LENGTHS, there, path=path)
    lengths = list(LENGTHS)
    with gpu.capturing(stream) as graph:
        assert on_gpu(x, lengths, there, out=out, path=path) is out
    close(out, np.zeros((N, T, 26)))  # nothing has run
    lengths[:] = [0, 0, 0]
    for replay in range(3):
        values = inputs(N, T, 5)
        rounded = cuda.asarray(values, dtype)
        x._write(np.ascontiguousarray(_bits(rounded)))
        graph.launch(stream if replay % 2 else other)
        close(out, lstm(cuda.asnumpy(rounded, np.float32), LENGTHS, state), limit)
        more = inputs(N + 9 * (replay + 1), T + 11, 5)  # the model's scratch memory grows
        close(on_gpu(more, path=path, stream=other), lstm(more), limit)
        close(on_gpu(x, path=path, stream=stream), lstm(cuda.asnumpy(rounded, np.float32)), limit)
    graph.destroy()


def _bits(array):
    host = np.empty(array.shape, np.uint16 if array.dtype_name == "bfloat16" else array.dtype_name)
    array._read(host)
    return host


@pytest.mark.parametrize("graph_goes_first", [False, True])
def test_results_that_are_made_inside(gpu, graph_goes_first):
    lstm, stream = model(), gpu.stream()
    on_gpu = lstm.to("cuda")
    x = cuda.asarray(inputs(N, T, 5), stream=stream)
    on_gpu(x, LENGTHS, outputs="hc")
    gc.collect()
    base = gpu.allocations()
    with gpu.capturing(stream) as graph:
        (h, c), state = on_gpu(x, LENGTHS, outputs="hc", return_state=True)
        last = on_gpu(x, LENGTHS, outputs="last")
    for _ in range(3):
        values = inputs(N, T, 5)
        x._write(values)
        on_gpu(inputs(2 * N, 3 * T, 5))
        graph.launch(stream)
        (want_h, want_c), want_state = lstm(values, LENGTHS, None, "hc", return_state=True)
        close(h, want_h)
        close(c, want_c)
        close(last, lstm(values, LENGTHS, None, "last"))
        for pair, want in zip(state, want_state, strict=True):
            close(pair.c, want.c)
            close(pair.h, want.h)
    grown = gpu.allocations()
    assert grown > base
    if graph_goes_first:
        graph.destroy()
        close(h, want_h)  # still there
        del h, c, state, last, pair
    else:
        del h, c, state, last, pair
        cuda.asarray(inputs(1))
        x._write(values)
        graph.launch(stream)  # writes to memory that nobody else has
        graph.destroy()
    gc.collect()
    cuda.asarray(inputs(1))  # gives back
    gc.collect()
    assert gpu.allocations() == base


def test_packed_rows(gpu):
    lstm, stream = model(), gpu.stream()
    on_gpu, offsets = lstm.to("cuda"), np.array([0, 3, 3, 8])
    x = cuda.asarray(inputs(8, 5), stream=stream)
    with gpu.capturing(stream) as graph:
        y = on_gpu(x, offsets=offsets)
    offsets[:] = 0
    for _ in range(3):
        values = inputs(8, 5)
        x._write(values)
        graph.launch(stream)
        close(y, lstm(values, offsets=[0, 3, 3, 8]))


def test_more_lengths_than_one_launch_takes(gpu):
    lstm, stream = lstmcore.LSTM(2, 3, seed=1), gpu.stream()
    on_gpu, lengths = lstm.to("cuda"), RNG.integers(0, 4, 1200)
    x = cuda.asarray(inputs(1200, 3, 2), stream=stream)
    with gpu.capturing(stream) as graph:
        y = on_gpu(x, lengths)
    values = inputs(1200, 3, 2)
    x._write(values)
    graph.launch(stream)
    close(y, lstm(values, lengths))


def test_cells(gpu):
    stream = gpu.stream()
    cells = [
        lstmcore.LSTMCell(7, device=device, use_peepholes=True, num_proj=4, name="lstm")
        for device in ("cuda", "cpu")
    ]
    step, sequence, lengths = inputs(N, 5), inputs(N, T, 5), np.array(LENGTHS)
    state = [inputs(N, 7), inputs(N, 4)]
    for cell in cells:
        cell.build((N, 5))
    on_gpu, on_cpu = cells
    on_gpu.set_weights(on_cpu.get_weights())
    x, xs = cuda.asarray(step, stream=stream), cuda.asarray(sequence, stream=stream)
    c, h = (cuda.asarray(part, stream=stream) for part in state)
    with gpu.capturing(stream) as graph:  # the weights are uploaded in here
        first, second = on_gpu(x, (c, h))
        second = on_gpu(x, second)
        outputs, final = lstmcore.dynamic_rnn(on_gpu, xs, lengths, initial_state=tuple(second[1]))
    for _ in range(3):
        step, sequence = inputs(N, 5), inputs(N, T, 5)
        x._write(step)
        xs._write(sequence)
        graph.launch(stream)
        want, want_state = on_cpu(step, tuple(state))
        close(first, want)
        want_state = on_cpu(step, want_state)[1]
        want, want_final = lstmcore.dynamic_rnn(
            on_cpu, sequence, lengths, initial_state=tuple(want_state)
        )
        close(outputs, want)
        close(final[0], want_final[0])
        close(final[1], want_final[1])
        on_gpu(inputs(40, 5), on_gpu.zero_state(40, np.float32))


def test_a_model_that_is_gone(gpu):
    lstm, stream = model(), gpu.stream()
    x = cuda.asarray(inputs(N, T, 5), stream=stream)
    lstm.to("cuda")(x)
    gc.collect()
    base, on_gpu = gpu.allocations(), lstm.to("cuda")
    with gpu.capturing(stream) as graph:
        y = on_gpu(x)
    del on_gpu
    gc.collect()
    for _ in range(2):
        values = inputs(N, T, 5)
        x._write(values)
        close(lstm.to("cuda")(values), lstm(values))  # takes memory that is free
        graph.launch(stream)
        close(y, lstm(values))
    del y
    graph.destroy()
    gc.collect()
    cuda.asarray(inputs(1))
    assert gpu.allocations() == base


def test_weights_that_were_replaced(gpu):
    stream = gpu.stream()
    cell = lstmcore.LSTMCell(7, device="cuda", forget_bias=0.3)
    x = cuda.asarray(inputs(N, T, 5), stream=stream)
    with gpu.capturing(stream) as graph:
        y, _ = lstmcore.dynamic_rnn(cell, x, dtype=np.float32)
    graph.launch(stream)
    before = cuda.asnumpy(y)
    cell.set_weights([weights * 0.5 for weights in cell.get_weights()])
    after, _ = lstmcore.dynamic_rnn(cell, x, dtype=np.float32)
    assert np.abs(cuda.asnumpy(after) - before).max() > 1e-3
    gc.collect()
    graph.launch(stream)
    close(y, before, 0)
