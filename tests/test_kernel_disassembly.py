"""The kernels' inner loops as the compiler left them: no vector goes to the stack and back."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lstmcore import _core

ROOT = Path(__file__).parent.parent
FLAGS = {
    "avx2": "-mavx2 -mfma",
    "avx512": "-mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512",
}
# Rows of the register tiles; a loop over k has 4 multiply-adds for each.
TILES = {"avx2": range(1, 4), "avx512": range(1, 7)}
TOO_MANY = """
typedef float Vec __attribute__((vector_size(32)));
void sums(const Vec* w, const float* const* x, long n, Vec* out) {
  Vec s[20] = {};
  for (long k = 0; k < n; ++k)
#pragma GCC unroll 20
    for (int r = 0; r < 20; ++r) s[r] += w[k] * x[r][k];
  for (int r = 0; r < 20; ++r) out[r] = s[r];
}
"""
pytestmark = [
    pytest.mark.skipif("generic" not in _core.info()["isa_compiled"], reason="not x86-64"),
    pytest.mark.skipif(not shutil.which("objdump"), reason="objdump is not installed"),
    pytest.mark.skipif(not shutil.which("c++"), reason="c++ is not installed"),
]


def disassembled(tmp_path: Path, source: Path, flags: list[str]) -> list[tuple[int, str]]:
    """Addresses and instructions."""
    target = tmp_path / "object.o"
    common = ["c++", "-std=c++17", "-O3", "-fPIC", f"-I{ROOT}/src", f"-I{ROOT}/include"]
    subprocess.run([*common, *flags, "-c", source, "-o", target], check=True)
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", target], capture_output=True, text=True, check=True
    ).stdout
    found = re.findall(r"^\s+([0-9a-f]+):\t(.*)$", listing, re.MULTILINE)
    return [(int(address, 16), text) for address, text in found]


def inner_loops(code: list[tuple[int, str]]) -> list[list[str]]:
    """What lies between a backward jump and its target, with no other jump in between."""
    index = {address: k for k, (address, _) in enumerate(code)}
    loops = []
    for k, (address, text) in enumerate(code):
        jump = re.match(r"j\w+\s+([0-9a-f]+)\b", text)
        if jump and (target := int(jump[1], 16)) < address and target in index:
            body = [line for _, line in code[index[target] : k]]
            if not any(re.match(r"j|call|ret", line) for line in body):
                loops.append(body)
    return loops


def multiply_adds(loop: list[str]) -> int:
    return sum(bool(re.match(r"vfn?m(add|sub)\w*p[sd]", line)) for line in loop)


def spills(loop: list[str]) -> list[str]:
    """Moves of whole vectors from and to the stack."""
    stack, register = r"\(%r[sb]p", "%[yz]mm"
    moves = rf"vmov[aud]\w*\s+(.*{stack}.*{register}|.*{register}.*{stack})"
    return [line for line in loop if re.match(moves, line)]


@pytest.mark.parametrize("level", FLAGS)
def test_inner_loops_do_not_spill(tmp_path: Path, level: str) -> None:
    flags = [*FLAGS[level].split(), f"-DLSTMCORE_LEVEL={level}", "-ffp-contract=off"]
    code = disassembled(tmp_path, ROOT / "src" / "cpu" / "kernel.cpp", flags)
    loops = [loop for loop in inner_loops(code) if multiply_adds(loop) >= 4]
    sizes = {multiply_adds(loop) for loop in loops}
    # unrolled loops hold a multiple of a tile's; every tile height must be found
    for rows in TILES[level]:
        assert any(size % (4 * rows) == 0 for size in sizes), f"no loop of {rows} rows: {sizes}"
    assert len(loops) >= 2 * len(TILES[level])
    spilled = [(multiply_adds(loop), line) for loop in loops for line in spills(loop)]
    assert not spilled


def test_a_spill_would_be_found(tmp_path: Path) -> None:
    source = tmp_path / "too_many.cpp"
    source.write_text(TOO_MANY)
    code = disassembled(tmp_path, source, ["-mavx2", "-mfma", "-ffp-contract=fast"])
    loops = [loop for loop in inner_loops(code) if multiply_adds(loop) >= 4]
    assert loops
    assert any(spills(loop) for loop in loops)
