"""Arrays on the emulated GPU: of others, through DLPack and __cuda_array_interface__; ours."""

import ctypes
import gc

import numpy as np
import pytest

import lstmcore
from cuda_producers import NAMES, Interface, Managed, Producer, Versioned, WithoutShape, api
from lstmcore import cuda

X = np.random.default_rng(5).normal(size=(2, 4, 5)).astype(np.float32)


def model(**options):
    settings = {"use_peepholes": True, "forget_bias": 0.5, "seed": 3}
    return lstmcore.LSTM(5, 6, **{**settings, **options})


@pytest.mark.parametrize("versioned", [True, False])
def test_a_capsule_is_taken_over_and_deleted_once(gpu, versioned):
    on_gpu, want = model().to("cuda"), model()(X)
    given = Producer(cuda.asarray(X), versioned=versioned)
    got = on_gpu(given)
    np.testing.assert_allclose(cuda.asnumpy(got), want, rtol=1e-5, atol=1e-6)
    assert api.PyCapsule_GetName(given.capsule) == b"used_" + NAMES[versioned]
    assert given.deleted == 1
    assert given.streams == [1]


def test_a_producer_from_before_dlpack_1(gpu):
    given = Producer(cuda.asarray(X), versioned=False, knows_max_version=False)
    got = model().to("cuda")(given)
    np.testing.assert_allclose(cuda.asnumpy(got), model()(X), rtol=1e-5, atol=1e-6)
    assert given.streams == [1]
    assert given.deleted == 1


def test_strides_and_offsets_of_others(gpu):
    wide = np.zeros((2, 4, 9), np.float32)
    wide[..., 2:7] = X
    given = Producer(cuda.asarray(wide), shape=X.shape, strides=(36, 9, 1), offset=8)
    want = model()(X)
    got = cuda.asnumpy(model().to("cuda")(given))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    # axes of one entry: any stride
    for shape, strides in (
        ((1, 4, 5), (77, 5, 1)),
        ((2, 1, 5), (20, 0, 1)),
        ((1, 1, 5), (0, 3, 1)),
    ):
        given = Producer(cuda.asarray(X), shape=shape, strides=strides)
        part = X[: shape[0], : shape[1]]
        got = cuda.asnumpy(model().to("cuda")(given))
        np.testing.assert_allclose(got, model()(part), rtol=1e-5, atol=1e-6)


BAD = {
    "a version to come": ({"major": 2}, ValueError, "x: expected DLPack 1, got version 2"),
    "on the CPU": ({"device": (1, 0)}, TypeError, "x must be readable|x must be a NumPy array"),
    "on another GPU": (
        {"device": (2, 1)},
        ValueError,
        "x: expected an array on cuda:0, got one on",
    ),
    "integers": ({"code": 0}, TypeError, "x: expected float32, got int32"),
    "complex": ({"code": 5}, TypeError, "x: expected float32, .* got DLPack type 5 of 32 bits"),
    "last axis": (
        {"strides": (20, 1, 4)},
        ValueError,
        "x: expected the last axis to be contiguous",
    ),
    "negative": ({"strides": (20, -5, 1)}, ValueError, "x: expected no negative strides"),
    "shared rows": (
        {"strides": (0, 5, 1)},
        ValueError,
        "x: expected rows that do not share memory",
    ),
    "windows": ({"strides": (20, 1, 1)}, ValueError, "x: expected rows that do not share memory"),
    "unaligned": ({"offset": 2, "shape": (1, 2, 5)}, ValueError, "x: expected an aligned array"),
    "needs a gradient": (
        {"error": BufferError("Can't export tensors that require gradient")},
        ValueError,
        "x: its library does not export it: Can't export tensors that require gradient",
    ),
    "no type": ({"error": TypeError("odd")}, ValueError, "x: its library does not export it: odd"),
}


@pytest.mark.parametrize("case", BAD)
def test_capsules_that_are_refused(gpu, case):
    options, error, match = BAD[case]
    given, on_gpu = Producer(cuda.asarray(X), **options), model().to("cuda")
    if case == "no type":  # whichever way it was asked
        given.__class__ = type("Odd", (Producer,), {"__dlpack__": lambda self, **k: _raise(self)})
    with pytest.raises(error, match=match):
        on_gpu(given)
    gc.collect()
    assert given.deleted == (1 if given.capsule is not None else 0)
    assert on_gpu(X).shape == (2, 4, 6)


def _raise(producer):
    raise producer.error


@pytest.mark.parametrize("flags", [1, 2])
def test_outputs_must_be_writable(gpu, flags):
    on_gpu, x = model().to("cuda"), cuda.asarray(X)
    out = Producer(cuda.asarray(np.zeros((2, 4, 6), np.float32)), flags=flags)
    with pytest.raises(ValueError, match="out: expected a writable array"):
        on_gpu(x, out=out)
    out = Producer(cuda.asarray(np.zeros((2, 4, 6), np.float32)), strides=(0, 6, 1))
    with pytest.raises(ValueError, match="out: expected elements that do not share memory"):
        on_gpu(x, out=out)
    out = Producer(cuda.asarray(np.zeros((2, 4, 6), np.float32)))
    assert on_gpu(x, out=out) is out
    np.testing.assert_array_equal(cuda.asnumpy(out.block), cuda.asnumpy(on_gpu(x)))


# ---- The other protocol


def test_the_cuda_array_interface(gpu):
    on_gpu, want = model().to("cuda"), model()(X)
    for given in (
        Interface(cuda.asarray(X)),
        WithoutShape(cuda.asarray(X)),
        Interface(cuda.asarray(X), stream=None),
        Interface(cuda.asarray(X), stream=2),
        Interface(cuda.asarray(X.swapaxes(0, 1)), shape=X.shape, strides=(20, 40, 4)),
    ):
        np.testing.assert_allclose(cuda.asnumpy(on_gpu(given)), want, rtol=1e-5, atol=1e-6)


def test_work_waits_for_the_stream_of_the_interface(gpu):
    on_gpu, other = model().to("cuda"), gpu.stream()
    before = gpu.waits()
    assert on_gpu(Interface(cuda.asarray(X), stream=other)).stream == other  # its stream is taken
    same = gpu.waits() - before
    on_gpu(Interface(cuda.asarray(X), stream=other), stream=gpu.stream())
    assert gpu.waits() - before > 2 * same


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"stream": 0}, ValueError, "x: its __cuda_array_interface__ has stream 0"),
        ({"mask": X}, TypeError, "x: expected a plain array, got a masked one"),
        ({"typestr": "<c8"}, TypeError, "x: expected float32, .* got <c8"),
        ({"typestr": ">f4"}, TypeError, "x: expected float32, .* got >f4"),
        ({"strides": (80, 18, 4)}, ValueError, "x: expected strides of whole elements"),
        ({"strides": (80, 20)}, ValueError, "x: expected a stride for each axis"),
        (
            {"data": (X.ctypes.data, False)},
            TypeError,
            "x: expected an array on the GPU, its address",
        ),
    ],
)
def test_interfaces_that_are_refused(gpu, changes, error, match):
    on_gpu = model().to("cuda")
    with pytest.raises(error, match=match):
        on_gpu(Interface(cuda.asarray(X), **changes))
    assert on_gpu(X).shape == (2, 4, 6)


def test_an_address_on_another_gpu(gpu):
    with pytest.raises(ValueError, match="x: expected an array on cuda:0, got one on cuda:1"):
        model().to("cuda")(Interface(cuda.asarray(X, device=1)))
    with pytest.raises(ValueError, match="out: expected a writable array"):
        block = cuda.asarray(np.zeros((2, 4, 6), np.float32))
        address = block.__cuda_array_interface__["data"][0]
        model().to("cuda")(cuda.asarray(X), out=Interface(block, data=(address, True)))


# ---- lstmcore's own arrays


def test_what_an_array_says(gpu):
    array = cuda.asarray(X, device=1)
    assert (array.shape, array.ndim, array.device, array.dtype_name) == ((2, 4, 5), 3, 1, "float32")
    assert repr(array) == "<DeviceArray float32 (2, 4, 5) on cuda:1>"
    assert len(array) == 2
    np.testing.assert_array_equal(cuda.asnumpy(array[-1]), X[1])
    np.testing.assert_array_equal([cuda.asnumpy(part) for part in array], X)
    for index in (2, -3):
        with pytest.raises(IndexError):
            array[index]
    with pytest.raises(TypeError, match=r"use lstmcore\.cuda\.asnumpy"):
        np.asarray(array)
    with pytest.raises(ValueError, match="shape: expected sizes"):
        cuda.DeviceArray(cuda.library(), 0, [-1, 2], 0, 0)
    with pytest.raises(ValueError, match="shape: expected sizes"):
        cuda.DeviceArray(cuda.library(), 0, [1 << 40, 1 << 40], 0, 0)


def taken(capsule, versioned):
    kind = Versioned if versioned else Managed
    return kind.from_address(api.PyCapsule_GetPointer(capsule, NAMES[versioned]))


def test_capsules_of_ours(gpu):
    array = cuda.asarray(X)
    address = array.__cuda_array_interface__["data"][0]
    assert array.__dlpack_device__() == (2, 0)
    first = array.__dlpack__()
    old = taken(first, False)
    capsule = array.__dlpack__(stream=1, max_version=(1, 1), dl_device=(2, 0), copy=False)
    new = taken(capsule, True)
    assert (new.major, new.flags) == (1, 0)
    for tensor in (old.tensor, new.tensor):
        assert (tensor.data, tensor.byte_offset, tensor.code, tensor.bits) == (address, 0, 2, 32)
        assert tensor.shape[:3] == [2, 4, 5]
        assert tensor.strides[:3] == [20, 5, 1]
    copied = array.__dlpack__(max_version=(1, 0), copy=True)
    assert taken(copied, True).flags == 2
    assert taken(copied, True).tensor.data != address
    with pytest.raises(BufferError, match="dl_device"):
        array.__dlpack__(dl_device=(1, 0))
    for stream in (0, -2):
        with pytest.raises(ValueError, match="stream: expected 1, 2, a handle"):
            array.__dlpack__(stream=stream)
    with pytest.raises(TypeError, match="stream"):
        array.__dlpack__(stream="0")


def test_a_capsule_keeps_the_memory(gpu):
    base = gpu.allocations()
    capsules = [cuda.asarray(X).__dlpack__(), cuda.asarray(X).__dlpack__(max_version=(1, 0))]
    part = cuda.asarray(X)[1]
    assert gpu.allocations() == base + 3
    managed = taken(capsules[1], True)
    api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_SetName(capsules[1], b"used_dltensor_versioned")  # a consumer takes it
    del capsules
    assert gpu.allocations() == base + 2  # the one that nobody took is gone
    managed.deleter(ctypes.addressof(managed))
    del part
    assert gpu.allocations() == base


def test_streams_are_ordered_by_events(gpu):
    stream = gpu.stream()
    array = cuda.asarray(X, stream=stream)

    def waits(**arguments):
        before = gpu.waits()
        array.__dlpack__(**arguments)
        return gpu.waits() - before

    assert waits(stream=-1) == 0
    assert waits(stream=stream) == 0
    assert waits(stream=1) == 1
    assert waits(stream=2) == 1
    assert waits() == 1  # None: the legacy default stream
    assert array.__cuda_array_interface__["stream"] == stream
    # an output on another stream: its own goes on after it
    out = cuda.asarray(np.zeros((2, 4, 6), np.float32))
    on_gpu = model().to("cuda")
    on_gpu(array, out=out, stream=stream)
    before = gpu.waits()
    on_gpu(array, out=out, stream=stream)
    assert gpu.waits() - before >= 2


def test_a_stream_of_another_device(gpu):
    on_gpu = model().to("cuda")
    with pytest.raises(ValueError, match="stream: not a stream of cuda:0"):
        on_gpu(cuda.asarray(X), stream=gpu.stream(1))
    assert on_gpu(cuda.asarray(X), stream=gpu.stream(0)).shape == (2, 4, 6)
    with pytest.raises(ValueError, match="stream: not a stream of cuda:0"):
        on_gpu(cuda.asarray(X), stream=gpu.stream(1))
