"""The emulator of tests/cuda for the tests in Python: built once, and made to fail on demand."""

import ctypes
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def build(folder):
    options = ["-DLSTMCORE_PYTHON=OFF", "-DLSTMCORE_TESTS=ON", "-DLSTMCORE_CUDA=OFF"]
    options += ["-DLSTMCORE_BENCH=OFF"]
    run(["cmake", "-S", str(ROOT), "-B", str(folder), *options])
    targets = ["lstmcore_cuda_emulated", "cublas_emulator", "test_cuda", "test_mma", "test_tiling"]
    run(["cmake", "--build", str(folder), "--parallel", "2", "--target", *targets])


@pytest.fixture(scope="session")
def emulator_build(tmp_path_factory):
    """The build folder; that of LSTMCORE_EMULATOR_BUILD is taken as it is."""
    if chosen := os.environ.get("LSTMCORE_EMULATOR_BUILD"):
        return Path(chosen)
    folder = tmp_path_factory.mktemp("emulator")
    build(folder)
    return folder


class Emulator:
    """What tests do to the emulated CUDA; see tests/cuda/emulator/faults.h."""

    def __init__(self, folder):
        self.library = folder / "liblstmcore_cuda_emulated.so"
        self.cublas = folder / "libcublas_emulator.so"
        self._runtime = ctypes.CDLL(str(folder / "libcudart_emulator.so"))
        self._cublas = ctypes.CDLL(str(self.cublas))
        self._runtime.emulator_make_stream.restype = ctypes.c_void_p

    def fail_allocation(self, nth):
        self._runtime.emulator_fail_allocation(nth)

    def break_device(self, status=700):
        self._runtime.emulator_break(status)

    def cublas_version(self, version):
        self._cublas.emulator_cublas_version(version)

    def heal(self):
        self.cublas_version(130000)
        self._runtime.emulator_break(0)
        self._runtime.emulator_fail_allocation(0)

    def allocations(self):
        return self._runtime.emulator_allocations()

    def waits(self):
        return self._runtime.emulator_waits()

    def stream(self, device=0):
        return self._runtime.emulator_make_stream(device)

    def begin_capture(self, stream):
        assert self._runtime.emulator_begin_capture(ctypes.c_void_p(stream)) == 0

    def end_capture(self, stream):
        return self._runtime.emulator_end_capture(ctypes.c_void_p(stream))


@pytest.fixture
def gpu(emulator_build, monkeypatch):
    """lstmcore with the emulator as its CUDA, of two devices."""
    emulator = Emulator(emulator_build / "tests" / "cuda")
    monkeypatch.setenv("LSTMCORE_CUDA_LIBRARY", str(emulator.library))
    monkeypatch.setenv("LSTMCORE_CUBLAS", str(emulator.cublas))
    yield emulator
    emulator.heal()
