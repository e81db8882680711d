"""Builds the native core on its own, runs its C++ tests, and looks into its object files."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pages
import reference
from lstmcore import _core

ROOT = Path(__file__).parent.parent
CMAKE = Path(sys.executable).parent / "cmake"  # of the `test` extra
# Of what test_api computes, on every level with fused multiply-add: AVX2, AVX-512 and NEON.
DIGEST = "fb61653961a0009b"
ISAS = _core.info()["isa_found"]


def run(*command: str | Path, **env: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    options = ["-DLSTMCORE_PYTHON=OFF", "-DLSTMCORE_TESTS=ON", "-DLSTMCORE_WERROR=ON"]
    options += ["-DLSTMCORE_BENCH=OFF", "-DLSTMCORE_CUDA=OFF"]  # others build them
    run(CMAKE, "-S", ROOT, "-B", folder, *options)
    run(CMAKE, "--build", folder, "--parallel", "2")
    return folder


def kernel_objects(build: Path) -> dict[str, Path]:
    found = build.glob("CMakeFiles/lstmcore_kernel_*.dir/src/cpu/kernel.cpp.o")
    return {re.search(r"lstmcore_kernel_(\w+)\.dir", str(path))[1]: path for path in found}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "test",
    [
        "test_api",
        "test_engine",
        "test_limits",
        "test_memory",
        "test_out_of_memory",
        "test_stack",
        "test_stream",
        "test_threads",
    ],
)
def test_cpp_tests_pass_on_each_isa(build: Path, isa: str, test: str) -> None:
    assert run(build / test, LSTMCORE_FORCE_ISA=isa) == f"{isa}: all checks passed\n"


def test_the_program_of_the_cpp_page(build: Path, tmp_path: Path) -> None:
    (source,) = pages.blocks("docs/cpp.md", "cpp")
    (tmp_path / "program.cpp").write_text(source)
    compiler = re.search(r"CMAKE_CXX_COMPILER:\w+=(.+)", (build / "CMakeCache.txt").read_text())[1]
    run(
        *[compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "include"],
        *[
            tmp_path / "program.cpp",
            build / "liblstmcore.a",
            "-pthread",
            "-o",
            tmp_path / "program",
        ],
    )
    assert run(tmp_path / "program") == "the same bits\n"


def test_the_cpp_example_against_the_installed_package(build: Path, tmp_path: Path) -> None:
    """``find_package`` from an installed tree that was moved, with no source in sight."""
    run(CMAKE, "--install", build, "--prefix", tmp_path / "prefix")
    package, folder = tmp_path / "package", tmp_path / "example"
    (tmp_path / "prefix").rename(package)
    headers = {path.name for path in (package / "include" / "lstmcore").iterdir()}
    assert headers == {path.name for path in (ROOT / "include/lstmcore").iterdir()} - {"cuda_abi.h"}
    run(CMAKE, "-S", ROOT / "examples/cpp", "-B", folder, f"-DCMAKE_PREFIX_PATH={package}")
    run(CMAKE, "--build", folder)
    W, b = np.array([2, 1, 1.5, -1, 0, 0, 1, 2]), np.array([-1, -1, 0, 0, 1, -2, 1, 0])
    cell = reference.Cell(np.vstack([W, np.full((2, 8), 0.1)]), b, forget_bias=0)
    c = h = np.zeros((1, 2))
    expected = []
    for x in (1, 0, 0, 0, 0):
        c, h = reference.step(cell, np.array([[x]]), c, h)
        expected.append(h[0])
    printed = [
        [float(value) for value in line.split()] for line in run(folder / "example").splitlines()
    ]
    np.testing.assert_allclose(printed, expected, atol=2e-6)


@pytest.mark.parametrize(("asked", "found"), [("0.1", True), ("0.2", False), ("1.0", False)])
def test_versions_of_the_installed_package(
    build: Path, tmp_path: Path, asked: str, found: bool
) -> None:
    run(CMAKE, "--install", build, "--prefix", tmp_path)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(user LANGUAGES CXX)\n"
        f"find_package(lstmcore {asked} CONFIG QUIET)\n"
        'message(STATUS "found: ${lstmcore_FOUND}")\n'
    )
    printed = run(
        CMAKE, "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={tmp_path}"
    )
    assert f"found: {int(found)}" in printed


def test_levels_with_fma_agree_bit_for_bit(build: Path) -> None:
    digests = {
        isa: run(build / "test_api", "--digest", LSTMCORE_FORCE_ISA=isa).split()[1]
        for isa in ISAS
        if isa != "generic"
    }
    if not digests:
        pytest.skip("this CPU has no level with fused multiply-add")
    assert set(digests.values()) == {DIGEST}


def test_each_kernel_object_exports_its_table_and_nothing_else(build: Path) -> None:
    objects = kernel_objects(build)
    assert set(objects) == set(_core.info()["isa_compiled"])
    for level, path in objects.items():
        defined = [line.split() for line in run("nm", "-C", "--defined-only", path).splitlines()]
        # Lower case is local. The linker could merge a weak symbol (W, V) into the baseline path.
        exported = [(kind, name) for _, kind, name, *_ in defined if not kind.islower()]
        assert [name for _, name in exported] == [f"lstmcore::cpu::kernels_{level}"]
        assert exported[0][0] in "DRB"


def test_nothing_but_its_kernels_contains_avx(build: Path) -> None:
    if "generic" not in ISAS:
        pytest.skip("not an x86-64 CPU")
    kernels = kernel_objects(build)
    others = set((build / "CMakeFiles").rglob("*.o")) - set(kernels.values())
    assert len(others) >= 7
    for path in [*others, kernels["generic"]]:
        assert not avx_instructions(path), path
    assert avx_instructions(kernels["avx2"])  # or this test could not fail


def avx_instructions(path: Path) -> list[str]:
    """Those with a VEX or EVEX prefix: named v..., or with a wide register."""
    listing = run("objdump", "-d", "--no-show-raw-insn", path)
    return re.findall(r"^\s+[0-9a-f]+:\s+(v[a-z]\w+\s.*|.*%[yz]mm\d.*)$", listing, re.MULTILINE)
