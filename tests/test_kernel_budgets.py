"""Registers, spills and instructions of the CUDA kernels, where a build and cuobjdump are at hand.

``.ci/cuda`` makes both, names the library in LSTMCORE_CUDA_BUILT and lets nothing be skipped.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

import kernel_budgets
from lstmcore import _core

BUILT = os.environ.get("LSTMCORE_CUDA_BUILT")
PERSISTENT = "_ZN8lstmcore4cuda12_GLOBAL__N_117persistent_kernelIfLi1ENS0_12GridExchangeELb0EEEvNS0_14PersistentArgsE"  # noqa: E501
NAME = "persistent_kernel<float, 1, GridExchange, false>"


def report(name=PERSISTENT, registers=188, stack=0, local=0):
    return (
        "Fatbin elf code:\n================\narch = sm_90a\n\nResource usage:\n Common:\n"
        f" Function {name}:\n  REG:{registers} STACK:{stack} SHARED:1024 LOCAL:{local} "
        "CONSTANT[0]:792 TEXTURE:0 SURFACE:0 SAMPLER:0\n"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"registers": 255}, f"sm_90a {NAME}: 255 registers, the budget is 216"),
        ({"stack": 8}, f"sm_90a {NAME}: 8 bytes of stack memory"),
        ({"local": 16}, f"sm_90a {NAME}: 16 bytes of local memory"),
        ({"name": "_Z10new_kernelPf"}, "sm_90a new_kernel: no row in BUDGETS (it takes 188"),
    ],
)
def test_a_violation_is_seen(changed, message):
    assert not list(kernel_budgets.resource_violations(kernel_budgets.read_resources(report())))
    (found,) = kernel_budgets.resource_violations(kernel_budgets.read_resources(report(**changed)))
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("instructions", "message"),
    [
        (["LDG.E.128", "FFMA", "STL.128"], "local memory (STL)"),
        (["LDG.E.128", "FFMA", "HMMA.16816.F32"], "expected FFMA alone, found ['HMMA']"),
        (["LDG.E.128.CONSTANT", "FADD"], "expected FFMA alone, found none"),
        (["LDG.E.64", "LDS.128", "FFMA"], "no weights are loaded by 16 bytes"),
    ],
)
def test_an_instruction_is_seen(instructions, message):
    code = [f"        /*{16 * k:04x}*/     @!P0 {i} R1, R2 ;" for k, i in enumerate(instructions)]
    listing = ["arch = sm_90a", f"\t\tFunction : {PERSISTENT}", *code]
    found = kernel_budgets.read_instructions(listing)
    assert found == {("sm_90a", NAME): Counter(instructions)}
    assert any(message in text for text in kernel_budgets.instruction_violations(found))


@pytest.fixture(scope="module")
def library():
    path = Path(BUILT or Path(_core.__file__).parent / "liblstmcore_cuda.so")
    if not BUILT and not path.exists():
        pytest.skip("this lstmcore was built without CUDA")
    return path


@pytest.fixture(scope="module")
def cuobjdump():
    found = shutil.which("cuobjdump")
    if not BUILT and not (found and shutil.which("nvdisasm")):
        pytest.skip("cuobjdump and nvdisasm are not on PATH")
    return found


def test_registers_stack_and_local_memory(library, cuobjdump):
    usage = kernel_budgets.dump(cuobjdump, "--dump-resource-usage", library)
    resources = kernel_budgets.read_resources(usage)
    most = max(used["REG"] for used in resources.values())
    print(f"{len(resources)} kernels, at most {most} registers")
    assert len(resources) > 20
    assert not list(kernel_budgets.resource_violations(resources))
    if BUILT:
        assert not list(kernel_budgets.missing_kernels(resources))


def test_instructions(library, cuobjdump):
    lines = kernel_budgets.dump(cuobjdump, "-sass", library).splitlines()
    instructions = kernel_budgets.read_instructions(lines)
    assert len(instructions) > 20
    assert not list(kernel_budgets.instruction_violations(instructions))
    if BUILT:  # the newest architecture is there as PTX too
        assert "sm_120.ptx" in kernel_budgets.dump(cuobjdump, "--list-ptx", library)
