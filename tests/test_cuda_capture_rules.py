"""What a stream capture forbids, and does not, on the emulated GPU: streams, threads, failures."""

import gc
import threading

import numpy as np
import pytest

import lstmcore
from lstmcore import cuda

RNG = np.random.default_rng(12)
N, T = 3, 6


def inputs(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def model(layers=2, **options):
    settings = {"use_peepholes": True, "forget_bias": 0.5, "seed": 3}
    return lstmcore.LSTM(5, 13, layers, **{**settings, **options})


def close(got, want):
    got = got if isinstance(got, np.ndarray) else cuda.asnumpy(got)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)


@pytest.mark.parametrize("mode", ["global", "thread_local", "relaxed"])
def test_calls_that_are_refused_leave_the_capture_whole(gpu, mode):
    lstm, stream = model(), gpu.stream()
    on_gpu, values = lstm.to("cuda"), inputs(N, T, 5)
    x = cuda.asarray(values, stream=stream)
    state = [(inputs(N, 13), inputs(N, 13))] * 2
    lengths = cuda.DeviceArray(cuda.library(), 0, [N], 5, stream)  # int64
    with gpu.capturing(stream, mode) as graph:
        for call in (
            lambda: on_gpu(values, stream=stream),
            lambda: on_gpu(x, None, state),
            lambda: on_gpu(x, lengths),
            lambda: cuda.asarray(values, stream=stream),
            lambda: cuda.asnumpy(x),
        ):
            with pytest.raises(ValueError, match="stream: it is being captured, and nothing is co"):
                call()
        with pytest.raises(ValueError, match="stream: it is being captured, and cannot be waited"):
            on_gpu.synchronize(stream)
        y = on_gpu(x)
    graph.launch(stream)
    close(y, lstm(values))


@pytest.mark.parametrize("blocking", [False, True])
def test_a_capture_and_the_default_stream(gpu, blocking):
    lstm, stream = model(), gpu.stream(blocking=blocking)
    on_gpu, values = lstm.to("cuda"), inputs(N, T, 5)
    x, out = cuda.asarray(values), cuda.asarray(np.zeros((N, T, 13), np.float32))
    dropped = cuda.asarray(values)
    for _ in range(2):
        on_gpu(values)
        on_gpu(x, out=out, stream=stream)
    gc.collect()
    base, waited = gpu.allocations(), gpu.host_waits()
    with gpu.capturing(stream) as graph:
        on_gpu(x, out=out, stream=stream)
        assert (gpu.host_waits() > waited) != blocking  # x was written outside of the graph
        del dropped
        if blocking:
            with pytest.raises(ValueError, match="stream: it takes no work"):
                on_gpu(x, out=out, stream=0)
        else:
            close(on_gpu(values), lstm(values))
    graph.launch(stream)
    close(out, lstm(values))
    graph.destroy()
    cuda.asarray(values)
    gc.collect()
    assert gpu.allocations() == base - 1


def test_streams_of_one_capture_are_ordered_in_it(gpu):
    lstm, first, second = model(), gpu.stream(), gpu.stream()
    on_gpu, values = lstm.to("cuda"), inputs(N, T, 5)
    x = cuda.asarray(values, stream=first)
    out = cuda.asarray(np.zeros((N, T, 13), np.float32), stream=first)
    with gpu.capturing(first) as graph:
        y = on_gpu(x)
        y.__dlpack__(stream=second)  # is not drawn into the capture
        gpu.wait(second, first)  # is, by the user
        waits = gpu.waits()
        on_gpu(x, out=out, stream=second)  # the arrays are of the first stream
        assert gpu.waits() > waits
        gpu.wait(first, second)
    graph.launch(second)
    close(y, lstm(values))
    close(out, lstm(values))
    gpu.begin_capture(first)
    gpu.wait(second, first)
    on_gpu(x, out=out, stream=second)
    assert gpu.end_capture(first)[0] == (0 if out.stream == first else 904)


def test_arrays_of_the_stream_that_go_while_it_is_captured(gpu):
    stream = gpu.stream()
    gc.collect()
    base = gpu.allocations()
    array = cuda.asarray(inputs(4), stream=stream)
    with gpu.capturing(stream) as graph:
        del array
        gc.collect()
        assert gpu.allocations() == base + 1
    graph.launch(stream)
    cuda.asarray(inputs(4))
    gc.collect()
    assert gpu.allocations() == base


def test_others_may_call_while_a_thread_captures(gpu):
    lstm, stream = model(), gpu.stream()
    on_gpu, values = lstm.to("cuda"), inputs(N, T, 5)
    x = cuda.asarray(values, stream=stream)
    failed = []

    def others():
        try:
            fresh = model(seed=4).to("cuda")
            large = inputs(20, 30, 5)
            for path in ("stepwise", "block", "cluster"):  # weights are packed, memory grows
                close(fresh(large, path=path), model(seed=4)(large))
            fresh.synchronize()
            del fresh
            gc.collect()
        except Exception as error:
            failed.append(error)

    with gpu.capturing(stream) as graph:
        thread = threading.Thread(target=others)
        thread.start()
        thread.join(60)
        y = on_gpu(x)
        others()
    assert not failed
    graph.launch(stream)
    close(y, lstm(values))


def test_two_threads_capture_at_once(gpu):
    lstm = model()
    on_gpu, ready = lstm.to("cuda"), threading.Barrier(2, timeout=60)
    results = {}

    def work(k):
        stream = gpu.stream()
        values = inputs(N + k, T, 5)
        x = cuda.asarray(values, stream=stream)
        ready.wait()
        with gpu.capturing(stream) as graph:
            ready.wait()
            y = on_gpu(x)
            ready.wait()
        results[k] = (values, graph, stream, x, y)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 2
    for _ in range(2):
        for values, graph, stream, _, y in results.values():
            graph.launch(stream)
            close(y, lstm(values))


@pytest.mark.parametrize("function", ["cudaMalloc", "cublasLtMatmul", "cudaUserObjectCreate"])
def test_captures_that_fail_half_way(gpu, function):
    lstm, stream = model(layers=1), gpu.stream()
    on_gpu, values = lstm.to("cuda"), inputs(N, T, 5)
    x = cuda.asarray(values, stream=stream)
    on_gpu(x)
    gc.collect()
    base, failures = gpu.allocations(), 0
    for nth in range(40):
        gpu.begin_capture(stream)
        gpu.fail(function, nth, status=3 if function == "cublasLtMatmul" else 2)
        try:
            y = on_gpu(x)
        except MemoryError:
            failures += 1
            y = None
        gpu.heal()
        status, graph = gpu.end_capture(stream)
        if y is not None:
            break
        if status == 0:
            graph.destroy()
        else:
            assert function == "cudaMalloc"
        close(on_gpu(x), lstm(values))
        gc.collect()
        cuda.asarray(values)
        gc.collect()
        assert gpu.allocations() == base
    assert failures >= (1 if function == "cublasLtMatmul" else 3)
    graph.launch(stream)
    close(y, lstm(values))


def test_a_capture_that_somebody_else_broke(gpu):
    on_gpu, stream = model().to("cuda"), gpu.stream()
    x = cuda.asarray(inputs(N, T, 5), stream=stream)
    gpu.begin_capture(stream)
    assert gpu.unsafe_call() == 900
    for call in (lambda: on_gpu(x, out=x), lambda: on_gpu(x)):
        with pytest.raises(ValueError, match=r"a capture of it has failed|expected shape"):
            call()
    assert gpu.end_capture(stream)[0] == 901
    assert on_gpu(x).shape == (N, T, 13)


def test_calls_after_a_capture_are_ordered(gpu):
    on_gpu, stream, other = model().to("cuda"), gpu.stream(), gpu.stream()
    x = cuda.asarray(inputs(N, T, 5), stream=stream)
    on_gpu(x)
    with gpu.capturing(stream):
        on_gpu(x)
    waits = gpu.waits()
    on_gpu(inputs(N, T, 5), stream=other)
    assert gpu.waits() > waits
