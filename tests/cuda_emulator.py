"""The emulator of tests/cuda for the tests in Python: built once, and made to fail on demand.

The tests of tests/cuda themselves, whose grids are wide, are run by ``.ci/cuda``.
"""

import contextlib
import ctypes
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def build(folder):
    options = ["-DLSTMCORE_PYTHON=OFF", "-DLSTMCORE_TESTS=ON", "-DLSTMCORE_CUDA=OFF"]
    options += ["-DLSTMCORE_BENCH=OFF"]
    run(["cmake", "-S", str(ROOT), "-B", str(folder), *options])
    targets = ["lstmcore_cuda_emulated", "cublas_emulator"]
    run(["cmake", "--build", str(folder), "--parallel", "2", "--target", *targets])


@pytest.fixture(scope="session")
def emulator_build(tmp_path_factory):
    """The folder of the libraries; that of LSTMCORE_EMULATOR is taken as it is."""
    if chosen := os.environ.get("LSTMCORE_EMULATOR"):
        return Path(chosen)
    folder = tmp_path_factory.mktemp("emulator")
    build(folder)
    return folder / "tests" / "cuda"


class Emulator:
    """What tests do to the emulated CUDA; see tests/cuda/emulator/faults.h."""

    def __init__(self, folder):
        self.library = folder / "liblstmcore_cuda_emulated.so"
        self.cublas = folder / "libcublas_emulator.so"
        self._runtime = ctypes.CDLL(str(folder / "libcudart_emulator.so"))
        for function in ("emulator_make_stream", "emulator_make_blocking_stream", "emulator_pin"):
            getattr(self._runtime, function).restype = ctypes.c_void_p

    def fail(self, function, skip=0, count=1, status=OUT_OF_MEMORY):
        """After ``skip`` more calls of a function, the next ``count`` return ``status``."""
        self._runtime.emulator_fail(function.encode(), skip, count, status)

    def break_device(self, status=700):
        self._runtime.emulator_break(status)

    def driver(self, version):
        """The version of CUDA that the driver is for; 0: there is none."""
        self._runtime.emulator_driver(version)

    def heal(self):
        self._runtime.emulator_break(0)
        self.driver(13000)
        self.fail("", count=0)

    def allocations(self):
        return self._runtime.emulator_allocations()

    def waits(self):
        return self._runtime.emulator_waits()

    def host_waits(self):
        return self._runtime.emulator_host_waits()

    def events(self):
        return self._runtime.emulator_events()

    def pinned(self, count):
        """A float32 NumPy array in pinned memory, which is never freed."""
        address = self._runtime.emulator_pin(ctypes.c_size_t(4 * count))
        return np.frombuffer((ctypes.c_float * count).from_address(address), np.float32)

    @contextlib.contextmanager
    def holding(self):
        """What is enqueued in here is not done before the end, or before somebody waits."""
        self._runtime.emulator_hold(1)
        yield
        self._runtime.emulator_hold(0)

    def stream(self, device=0, *, blocking=False):
        kind = "blocking_stream" if blocking else "stream"
        return getattr(self._runtime, f"emulator_make_{kind}")(device)

    def wait(self, stream, earlier):
        """Orders streams by an event, as a user does."""
        streams = (ctypes.c_void_p(stream), ctypes.c_void_p(earlier))
        assert self._runtime.emulator_wait(*streams) == 0

    def unsafe_call(self):
        return self._runtime.emulator_unsafe_call()

    def begin_capture(self, stream, mode="global"):
        number = ("global", "thread_local", "relaxed").index(mode)
        assert self._runtime.emulator_begin_capture(ctypes.c_void_p(stream), number) == 0

    def end_capture(self, stream):
        """The status, and the graph where it is 0."""
        executable = ctypes.c_void_p()
        status = self._runtime.emulator_end_capture(
            ctypes.c_void_p(stream), ctypes.byref(executable)
        )
        return status, Graph(self._runtime, executable)

    @contextlib.contextmanager
    def capturing(self, stream, mode="global"):
        """Yields a graph that is whole when the block ends."""
        self.begin_capture(stream, mode)
        graph = Graph(self._runtime, ctypes.c_void_p())
        try:
            yield graph
        finally:
            status, made = self.end_capture(stream)
        assert status == 0
        graph.executable, made.executable = made.executable, None


class Graph:
    """A captured CUDA graph, ready to be launched."""

    def __init__(self, runtime, executable):
        self._runtime, self.executable = runtime, executable

    def launch(self, stream):
        assert self._runtime.emulator_launch(self.executable, ctypes.c_void_p(stream)) == 0

    def destroy(self):
        self._runtime.emulator_destroy(self.executable)
        self.executable = None

    def __del__(self):
        if self.executable:
            self.destroy()


@pytest.fixture
def gpu(emulator_build, monkeypatch):
    """lstmcore with the emulator as its CUDA, of two devices."""
    emulator = Emulator(emulator_build)
    monkeypatch.setenv("LSTMCORE_CUDA_LIBRARY", str(emulator.library))
    monkeypatch.setenv("LSTMCORE_CUBLAS", str(emulator.cublas))
    yield emulator
    emulator.heal()
