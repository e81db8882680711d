"""Arrays of others on the emulated GPU: DLPack and __cuda_array_interface__, streams, faults."""

import ctypes
import gc
import pickle
import threading

import numpy as np
import pytest

import lstmcore
from lstmcore import cuda

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 4, 5)).astype(np.float32)


def model(**options):
    settings = {"use_peepholes": True, "forget_bias": 0.5, "seed": 3}
    return lstmcore.LSTM(5, 6, **{**settings, **options})


# ---- A producer of DLPack capsules, as the specification has it


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", DELETER)]


class Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", DELETER),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    ]


_api = ctypes.pythonapi
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_api.PyCapsule_GetName.restype = ctypes.c_char_p
_api.PyCapsule_GetName.argtypes = [ctypes.py_object]
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p
_api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
NAMES = {False: b"dltensor", True: b"dltensor_versioned"}


class Producer:
    """An array of lstmcore's in a capsule of somebody else's making."""

    def __init__(
        self,
        block,
        *,
        versioned=True,
        flags=0,
        major=1,
        strides=None,
        shape=None,
        offset=0,
        code=2,
        bits=32,
        device=(2, 0),
        knows_max_version=True,
        error=None,
    ):
        self.block, self.shape = block, tuple(block.shape if shape is None else shape)
        self.settings = {"strides": strides, "offset": offset, "code": code, "bits": bits}
        self.versioned, self.flags, self.major = versioned, flags, major
        self.device, self.error = device, error
        self.streams, self.deleted, self.capsule = [], 0, None
        if not knows_max_version:
            self.__class__ = OldProducer

    @property
    def ndim(self):
        return len(self.shape)

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, stream=None, max_version=None):
        assert max_version == (1, 0)
        return self._export(stream)

    def _export(self, stream):
        self.streams.append(stream)
        if self.error:
            raise self.error
        address = self.block.__cuda_array_interface__["data"][0]
        sizes = (ctypes.c_int64 * len(self.shape))(*self.shape)
        strides = self.settings["strides"]
        strides = strides and (ctypes.c_int64 * len(strides))(*strides)
        tensor = Tensor(
            address,
            *self.device,
            len(self.shape),
            self.settings["code"],
            self.settings["bits"],
            1,
            sizes,
            strides,
            self.settings["offset"],
        )

        def delete(_):
            self.deleted += 1

        deleter = DELETER(delete)
        self._keep = [sizes, strides, deleter]
        if self.versioned:
            self.managed = Versioned(self.major, 0, None, deleter, self.flags, tensor)
        else:
            self.managed = Managed(tensor, None, deleter)
        name = NAMES[self.versioned]
        self.capsule = _api.PyCapsule_New(ctypes.addressof(self.managed), name, None)
        return self.capsule


class OldProducer(Producer):
    def __dlpack__(self, *, stream=None):
        return self._export(stream)


@pytest.mark.parametrize("versioned", [True, False])
def test_a_capsule_is_taken_over_and_deleted_once(gpu, versioned):
    on_gpu, want = model().to("cuda"), model()(X)
    given = Producer(cuda.asarray(X), versioned=versioned)
    got = on_gpu(given)
    np.testing.assert_allclose(cuda.asnumpy(got), want, rtol=1e-5, atol=1e-6)
    assert _api.PyCapsule_GetName(given.capsule) == b"used_" + NAMES[versioned]
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


class Interface:
    def __init__(self, block, **changes):
        self.shape = tuple(changes.get("shape", block.shape))
        self.block = block
        self.__cuda_array_interface__ = {**block.__cuda_array_interface__, **changes}


class WithoutShape:
    def __init__(self, block):
        self.block, self.__cuda_array_interface__ = block, block.__cuda_array_interface__


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
    return kind.from_address(_api.PyCapsule_GetPointer(capsule, NAMES[versioned]))


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
    _api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
    _api.PyCapsule_SetName(capsules[1], b"used_dltensor_versioned")  # a consumer takes it
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


# ---- Models


@pytest.mark.parametrize("dtype", cuda.DTYPES)
@pytest.mark.parametrize("outputs", ["all", "last", "c", "hc"])
@pytest.mark.parametrize("packed", [False, True])
def test_outputs(gpu, dtype, outputs, packed):
    kind = np.float64 if dtype == "float64" else np.float32
    lstm = lstmcore.LSTM(5, 3, 2, bidirectional=True, num_proj=2, seed=1, dtype=kind)
    x = X.astype(kind).reshape(-1, 5) if packed else X.astype(kind)
    arguments = {"offsets": [0, 3, 3, 8]} if packed else {"lengths": [4, 1]}
    want = lstm(x, outputs=outputs, **arguments)
    on_gpu = lstm.to("cuda", dtype)
    got = on_gpu(x, outputs=outputs, **arguments)
    there = on_gpu(cuda.asarray(x, dtype), outputs=outputs, **arguments)
    limit = {"float64": 1e-13, "float32": 3e-6}.get(dtype, 3e-2)
    for a, b, c in zip(
        *((r if outputs == "hc" else (r,)) for r in (got, there, want)), strict=True
    ):
        np.testing.assert_array_equal(cuda.asnumpy(b, kind), a)
        np.testing.assert_allclose(a, c, rtol=0, atol=limit)


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize(
    ("outputs", "packed"), [("all", False), ("all", True), ("last", False), ("last", True)]
)
def test_out(gpu, where, outputs, packed):
    lstm = lstmcore.LSTM(5, 3, 2, bidirectional=True, seed=1)
    x = X.reshape(-1, 5) if packed else X
    arguments = {"offsets": [0, 3, 3, 8]} if packed else {"lengths": [4, 1]}
    want = lstm(x, outputs=outputs, **arguments)
    on_gpu = lstm.to("cuda")
    out = np.full_like(want, 7)
    if where == "device":
        x, out = cuda.asarray(x), cuda.asarray(out)
    assert on_gpu(x, outputs=outputs, out=out, **arguments) is out
    got = cuda.asnumpy(out) if where == "device" else out
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_states_from_both_places(gpu):
    lstm = model()
    on_gpu = lstm.to("cuda")
    c, h = (RNG.normal(size=(2, 6)).astype(np.float32) for _ in range(2))
    want = lstm(X, None, (c, h))
    for state in ((c, h), (cuda.asarray(c), h), [(c, cuda.asarray(h))]):
        for x in (X, cuda.asarray(X)):
            got = on_gpu(x, None, state)
            got = got if isinstance(got, np.ndarray) else cuda.asnumpy(got)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m, x: m(x, out=np.zeros((2, 4, 6), "f4")), TypeError, "out: expected an array on"),
        (lambda m, x: m(X, out=cuda.asarray(X)), ValueError, "out: expected an array float32"),
        (lambda m, x: m(x, out=x), ValueError, r"out: expected shape \(2, 4, 6\)"),
        (lambda m, x: m(x, [1, 2], offsets=[0, 8]), ValueError, "exclude each other|x: expected"),
        (lambda m, x: m(x, offsets=[0, 8]), ValueError, r"x: expected an array \[total, I\]"),
        (lambda m, x: m(x[0], offsets=[0, 3]), ValueError, "offsets: expected to begin with 0"),
        (lambda m, x: m(x[0], offsets=[]), ValueError, "offsets: expected one more entry"),
        (lambda m, x: m(x, None, [(x, x)]), ValueError, r"initial_state\[0\].c: expected shape"),
        (lambda m, x: m(x, None, [1, 2, 3]), ValueError, "initial_state: expected 1 pairs"),
        (lambda m, x: m(x, [1.5, 2]), ValueError, "lengths: expected integers"),
        (lambda m, x: m(x, x[0][0]), ValueError, "lengths: expected integers, got float32"),
        (lambda m, x: m(x, stream=-1), TypeError, "stream: expected a CUDA stream as an integer"),
    ],
)
def test_calls_that_are_refused(gpu, call, error, match):
    on_gpu, x = model().to("cuda"), cuda.asarray(X)
    with pytest.raises(error, match=match):
        call(on_gpu, x)
    assert on_gpu(x).shape == (2, 4, 6)


def test_where_a_model_is_stays(gpu, tmp_path):
    lstm = lstmcore.LSTM(5, 6, seed=3, device="cuda:1", device_dtype="float16")
    assert lstm.device == "cuda:1"
    assert "device=cuda:1 device_dtype=float16" in repr(lstm)
    lstm.set_weights({name: w * 0.5 for name, w in lstm.weights.items()})
    assert lstm.device == "cuda:1"
    again = pickle.loads(pickle.dumps(lstm))
    assert again.device == "cuda:1"
    np.testing.assert_array_equal(again(X), lstm(X))
    assert again.to("cpu").device == "cpu"
    pytest.importorskip("safetensors")
    lstm.save(tmp_path / "m.safetensors")
    loaded = lstmcore.load(tmp_path / "m.safetensors", device="cuda:1", device_dtype="float16")
    np.testing.assert_array_equal(loaded(X), lstm(X))
    models = lstmcore.open_models(tmp_path / "m.safetensors", device="auto")
    assert [m.device for m in models.values()] == ["cuda:0"]
    with pytest.raises(ValueError, match="device: expected"):
        lstmcore.load(tmp_path / "m.safetensors", device="tpu")
    plan = lstm.plan(10, 4)
    assert len(plan) == 1
    assert plan[0]["path"] in ("stepwise", "block", "cluster", "grid")
    with pytest.raises(ValueError, match="plan: only of a model on a GPU"):
        lstm.to("cpu").plan(1, 1)
    lstm.synchronize()


# ---- Faults


def test_cublas_that_is_too_old(gpu):
    gpu.fail("cublasLtGetVersion", count=1000, status=110200)  # what it returns is the version
    cell = lstmcore.LSTMCell(3, device="cuda")
    for call in (
        lambda: model().to("cuda"),
        lambda: cell(X[:, 0], cell.zero_state(2, np.float32)),
    ):
        with pytest.raises(RuntimeError, match=r"cuBLAS is too old: 12\.0 .*found 11\.2"):
            call()
    gpu.heal()
    assert cell(X[:, 0], cell.zero_state(2, np.float32))[0].shape == (2, 3)


def test_memory_that_runs_out_at_any_place(gpu):
    lstm = lstmcore.LSTM(5, 6, 2, bidirectional=True, num_proj=3, use_peepholes=True, seed=1)
    want = lstm(X, return_state=True)[0]
    gc.collect()
    base, refused, survived = gpu.allocations(), 0, 0
    for nth in range(200):
        gpu.fail("cudaMalloc", nth)
        try:
            got = lstm.to("cuda")(X)
        except MemoryError as error:
            refused += "out of memory" in str(error)
        else:  # scratch memory was tried for fewer steps; or so many allocations were not made
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
            survived += 1
            del got
        finally:
            gpu.heal()
        if survived == 4:
            break
        gc.collect()
        assert gpu.allocations() == base, f"allocation {nth} leaves memory behind"
    assert refused >= 40
    on_gpu, x = lstm.to("cuda"), cuda.asarray(X)
    on_gpu(x)
    gpu.fail("cudaMalloc", 1)
    with pytest.raises(MemoryError):
        on_gpu(x)
    np.testing.assert_allclose(cuda.asnumpy(on_gpu(x)), want, rtol=1e-5, atol=1e-6)


def test_a_kernel_that_breaks_the_device(gpu):
    break_and_call(gpu, model().to("cuda"), cuda.asarray(X))
    gc.collect()  # destructors raise nothing
    assert model()(X).shape == (2, 4, 6)


def break_and_call(gpu, on_gpu, x):
    gpu.break_device()
    with pytest.raises(RuntimeError, match=r"cudaErrorIllegalAddress.*process is restarted"):
        on_gpu(X)
    for call in (lambda: on_gpu(x), lambda: cuda.asarray(X), lambda: model().to("cuda")):
        with pytest.raises(RuntimeError, match="cudaErrorIllegalAddress"):
            call()
    cell = lstmcore.LSTMCell(6, device="cuda")
    with pytest.raises(RuntimeError, match="cudaErrorIllegalAddress"):
        cell(X[:, 0], cell.zero_state(2, np.float32))


def test_a_stream_that_is_being_captured(gpu):
    on_gpu, stream = model().to("cuda"), gpu.stream()
    x = cuda.asarray(X, stream=stream)
    on_gpu(x)
    cell = built_cell()
    gpu.begin_capture(stream)
    for call in (
        lambda: on_gpu(x),
        lambda: on_gpu(x[0], offsets=[0, 4]),
        lambda: lstmcore.packed_rnn(cell, x[0], np.array([0, 4])),
    ):
        with pytest.raises(ValueError, match="stream: an array cannot be made while"):
            call()
    gpu.end_capture(stream)
    assert on_gpu(x).shape == (2, 4, 6)


def built_cell():
    cell = lstmcore.LSTMCell(3, device="cuda")
    cell(X[:, 0], cell.zero_state(2, np.float32))
    return cell


def test_threads_share_a_cell(gpu):
    cell = built_cell()
    want, _ = lstmcore.dynamic_rnn(cell, X, dtype=np.float32)
    results = [None] * 4

    def work(k):
        for _ in range(5):
            results[k], _ = lstmcore.dynamic_rnn(cell, X, dtype=np.float32)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for result in results:
        np.testing.assert_array_equal(result, want)
