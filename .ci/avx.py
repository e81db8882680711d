"""AVX instructions of a linked program, and whether each is in a kernel of its ISA level.

Objects keep their functions together when they are linked, and the symbol table lists an object's
functions after its file's name. All levels come from one kernel.cpp: whose functions they are is
told by the level's table, ``lstmcore::cpu::kernels_avx2``, which points at them. What is shipped
is stripped; its code must be that of the program with symbols, byte for byte.
"""

from __future__ import annotations

import bisect
import re
import subprocess
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

AVX_LEVELS = ("avx2", "avx512")
# With a VEX or EVEX prefix: named v..., or with a wide register.
AVX = re.compile(r"^\s+([0-9a-f]+):\s+(?:v[a-z]\w+\s.*|.*%[yz]mm\d.*)$", re.MULTILINE)
# Loops of lstmcore-bench that read memory in wide registers: one per level, chosen like kernels.
READERS = re.compile(r"_ZN8lstmcore5bench12_GLOBAL__N_17read_(32|64)E\w+")
Range = tuple[int, int]  # of addresses, the end excluded


def functions_by_file(symbols: SymbolTableSection) -> list[list[Range]]:
    """The local functions of each object, in the order in which they were linked."""
    files: list[list[Range]] = [[]]
    for symbol in symbols.iter_symbols():
        kind, address = symbol["st_info"]["type"], symbol["st_value"]
        if kind == "STT_FILE":
            files.append([])
        elif kind == "STT_FUNC" and symbol["st_info"]["bind"] == "STB_LOCAL" and address:
            files[-1].append((address, address + symbol["st_size"]))
    return files


def pointers(elf: ELFFile, begin: int, end: int) -> set[int]:
    """What the loader writes into this range of addresses."""
    return {
        relocation["r_addend"]
        for section in elf.iter_sections()
        if isinstance(section, RelocationSection)
        for relocation in section.iter_relocations()
        if begin <= relocation["r_offset"] < end
    }


def functions_with_avx(elf: ELFFile) -> list[Range]:
    """Those that may use it, sorted: of the levels' kernels, and the benchmark's readers."""
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection), "not a program with symbols"
    files, found = functions_by_file(symbols), []
    for level in AVX_LEVELS:
        (table,) = symbols.get_symbol_by_name(f"_ZN8lstmcore3cpu{8 + len(level)}kernels_{level}E")
        begin = table["st_value"]
        targets = pointers(elf, begin, begin + table["st_size"])
        owners = [f for f in files if any(start in targets for start, _ in f)]
        assert len(owners) == 1, f"{level}: its table points into {len(owners)} objects"
        found += owners[0]
    found += [
        (symbol["st_value"], symbol["st_value"] + symbol["st_size"])
        for symbol in symbols.iter_symbols()
        if READERS.fullmatch(symbol.name)
    ]
    return sorted(found)


def check(unstripped: Path, shipped: ELFFile) -> int:
    """How many AVX instructions there are; AssertionError where one is outside the kernels."""
    with unstripped.open("rb") as file:
        elf = ELFFile(file)
        allowed = functions_with_avx(elf)
        code = elf.get_section_by_name(".text").data()
    assert shipped.get_section_by_name(".text").data() == code, "the code shipped is another"
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", unstripped],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = list(AVX.finditer(listing))
    assert len(found) > 1000, f"{unstripped}: {len(found)} AVX instructions; there are kernels"
    for match in found:
        address = int(match[1], 16)
        at = bisect.bisect_right(allowed, (address, float("inf"))) - 1
        inside = at >= 0 and address < allowed[at][1]
        assert inside, f"{unstripped}: AVX outside the kernels: {match[0].strip()}"
    return len(found)
