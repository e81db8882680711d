"""What the CUDA kernels may take, and what their machine code must look like.

Reads the reports of ``cuobjdump`` on ``liblstmcore_cuda.so``. A kernel without a row in ``BUDGETS``
is a violation: whoever writes one says here what it may take.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120")
# No multiprocessor below 9.0 has clusters.
WITHOUT_CLUSTERS = ("sm_80", "sm_86", "sm_89")


@dataclass(frozen=True)
class Budget:
    """``kernel``: a pattern that the demangled name, without its arguments, matches whole.

    ``registers``: of one thread, on any architecture. ``products``: "ffma" for IEEE float32 sums
    alone, "mma" for tensor cores, "any" where the kernel has no products of weights.
    ``weights_128``: whether weights come from memory by 16 bytes, or on new ones 32.
    """

    kernel: str
    registers: int
    products: str = "any"
    weights_128: bool = False


# 256 threads can have 255 registers each, and a persistent kernel has its multiprocessor to itself.
# The kernels of a step are short of latency, not of registers: 48 leave room for 5 blocks of 256.
BUDGETS = (
    Budget(r"persistent_kernel<\w+, 1, \w+, false>", 216, "ffma", True),
    Budget(r"persistent_kernel<\w+, 4, \w+, false>", 248, "ffma", True),
    Budget(r"persistent_kernel<\w+, 8, \w+, false>", 255, "ffma", True),
    Budget(r"mma_kernel<\w+, [12], \w+, false>", 255, "mma", True),
    # Several row tiles to a warp: more weights in registers, where the sums of rows leave room.
    Budget(r"persistent_kernel<\w+, [148], BlockExchange, true>", 255, "ffma", True),
    Budget(r"mma_kernel<\w+, [12], BlockExchange, true>", 255, "mma", True),
    Budget(r"plain_gemm_kernel<double>", 96),
    Budget(r"plain_gemm_kernel<\w+>", 72, "ffma"),
    # Two blocks of 256 threads.
    Budget(r"fused_step_kernel<double, \d, \d>", 128, "any", True),
    Budget(r"fused_step_kernel<(float, \d, 1|\w+, \d, 2)>", 128, "ffma", True),
    Budget(r"fused_step_kernel<\w+, \d, \d>", 96, "ffma"),
    Budget(r"gates_kernel<double>", 80),
    Budget(r"gates_kernel<\w+>", 48),
    Budget(r"projection_kernel<\w+>", 40),
    Budget(r"initial_h_kernel", 24),
    Budget(r"set_outputs_kernel", 40),
    Budget(r"move_kernel<[\w ]+>", 48),
    Budget(r"write_words_kernel", 40),
    Budget(r"add_kernel<\w+, \w+>", 40),
)

Kernel = tuple[str, str]  # architecture, short name


def short_names(mangled: Iterable[str]) -> dict[str, str]:
    """Demangled, without namespaces, return type and arguments."""
    names = list(mangled)
    demangled = subprocess.run(
        ["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return {m: _short(d) for m, d in zip(names, demangled, strict=True)}


def _short(demangled: str) -> str:
    name = re.sub(r"(lstmcore::cuda::|\(anonymous namespace\)::|^void )", "", demangled)
    name = re.sub(r"\(int\)", "", name)
    return name.partition("(")[0]


def read_resources(report: str) -> dict[Kernel, dict[str, int]]:
    """Of ``cuobjdump --dump-resource-usage``: registers, stack, local memory and so on."""
    architecture, found = "", {}
    pattern = r"^arch = (\S+)|^\s*Function (\S+):\s*\n\s*(REG:.*)$"
    for arch, mangled, usage in re.findall(pattern, report, re.MULTILINE):
        architecture = arch or architecture
        if mangled:
            numbers = {k: int(v) for k, v in re.findall(r"([A-Z]+(?:\[\d\])?):(\d+)", usage)}
            found[architecture, mangled] = numbers
    return _renamed(found)


def read_instructions(lines: Iterable[str]) -> dict[Kernel, Counter[str]]:
    """Of ``cuobjdump -sass``: how often each instruction, with its modifiers, is there."""
    architecture, current, found = "", Counter[str](), {}
    instruction = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?\s*([A-Z][A-Z0-9_.]*)")
    for line in lines:
        if match := instruction.match(line):
            current[match[1]] += 1
        elif match := re.match(r"^arch = (\S+)", line):
            architecture = match[1]
        elif match := re.match(r"^\s*Function : (\S+)", line):
            current = found[architecture, match[1]] = Counter()
    return _renamed(found)


def _renamed(found: dict[Kernel, object]) -> dict[Kernel, object]:
    names = short_names({mangled for _, mangled in found})
    renamed = {(arch, names[mangled]): value for (arch, mangled), value in found.items()}
    assert len(renamed) == len(found), "two kernels have one short name"
    return renamed


def budget_of(name: str) -> Budget | None:
    return next((b for b in BUDGETS if re.fullmatch(b.kernel, name)), None)


def resource_violations(resources: dict[Kernel, dict[str, int]]) -> Iterator[str]:
    for (arch, name), used in sorted(resources.items()):
        budget = budget_of(name)
        if budget is None:
            yield f"{arch} {name}: no row in BUDGETS (it takes {used['REG']} registers)"
        elif used["REG"] > budget.registers:
            yield f"{arch} {name}: {used['REG']} registers, the budget is {budget.registers}"
        for what in ("STACK", "LOCAL"):
            if used[what]:
                yield f"{arch} {name}: {used[what]} bytes of {what.lower()} memory"


def instruction_violations(instructions: dict[Kernel, Counter[str]]) -> Iterator[str]:
    for (arch, name), counts in sorted(instructions.items()):
        present = {full.partition(".")[0] for full in counts}
        if spilled := present & {"LDL", "STL"}:
            yield f"{arch} {name}: local memory ({', '.join(sorted(spilled))})"
        budget = budget_of(name)
        if budget is None:
            continue  # resource_violations says so
        tensor_cores = {p for p in present if re.fullmatch(r"[A-Z]*MMA|UTC\w*MMA", p)} - {"FFMA"}
        if budget.products == "ffma" and (tensor_cores or "FFMA" not in present):
            yield f"{arch} {name}: expected FFMA alone, found {sorted(tensor_cores) or 'none'}"
        if budget.products == "mma" and not tensor_cores:
            yield f"{arch} {name}: expected tensor cores, found none"
        if budget.products != "mma" and tensor_cores:
            yield f"{arch} {name}: tensor cores ({', '.join(sorted(tensor_cores))})"
        wide = any(re.match(r"(LDG|LD|LDGSTS)\..*(128|256|ENL2)", full) for full in counts)
        if budget.weights_128 and not wide:
            yield f"{arch} {name}: no weights are loaded by 16 bytes"


def missing_kernels(resources: dict[Kernel, dict[str, int]]) -> Iterator[str]:
    """Every architecture has every kernel, but for clusters."""
    names = {name for _, name in resources}
    for arch in ARCHITECTURES:
        for name in sorted(names):
            if "ClusterExchange" in name and arch in WITHOUT_CLUSTERS:
                continue
            if (arch, name) not in resources:
                yield f"{arch} {name}: not in the library"


def dump(cuobjdump: str, option: str, library: Path) -> str:
    done = subprocess.run([cuobjdump, option, str(library)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cuobjdump {option}: {done.stderr[-500:]}")
    return done.stdout
