"""What is in a mended wheel: ``check_wheel.py WHEEL BUILD``, with the build folder it came from.

Every file is one that belongs there, nothing needs a library that is not there, the wheel is
small, and outside its AVX kernels no program in it holds an AVX instruction.
"""

from __future__ import annotations

import io
import re
import sys
import zipfile
from pathlib import Path

import avx
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).parent.parent
MAX_BYTES = 3_000_000
MAX_DATA = 16_384  # initialized variables, of which any program has few
METADATA = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
SBOM = re.compile(r"sboms/auditwheel\.cdx\.json")  # auditwheel's list of what it added
ADDED = re.compile(r"lstmcore\.libs/libbenchmark-\w+\.so[.\w]*")
MODULE = re.compile(r"lstmcore/_core\.\S+\.so")
BENCH = "lstmcore/bin/lstmcore-bench"
# Of every system that manylinux allows for.
SYSTEM = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"}
SYSTEM |= {"libpthread.so.0", "libdl.so.2"}


def unexpected_files(names: list[str]) -> set[str]:
    """Files that do not belong in the wheel, and those that do and are missing."""
    package = ROOT / "python" / "lstmcore"
    expected = {
        f"lstmcore/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so")
    }
    expected.add(BENCH)
    found = set()
    for name in names:
        folder, _, rest = name.partition(".dist-info/")
        if folder.startswith("lstmcore-") and (rest in METADATA or SBOM.fullmatch(rest)):
            continue
        if MODULE.fullmatch(name) or ADDED.fullmatch(name):
            continue
        found.add(name)
    return found ^ expected


def needed(elf: ELFFile) -> set[str]:
    dynamic = elf.get_section_by_name(".dynamic")
    assert isinstance(dynamic, DynamicSection)
    return {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")}


def check(wheel: Path, build: Path) -> None:
    size = wheel.stat().st_size
    assert size < MAX_BYTES, f"{wheel.name}: {size} bytes, at most {MAX_BYTES}"
    assert "manylinux" in wheel.name, wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        wrong = unexpected_files(names)
        assert not wrong, f"{wheel.name}: unexpected or missing: {sorted(wrong)}"
        programs = {
            name: ELFFile(io.BytesIO(archive.read(name)))
            for name in names
            if archive.read(name)[:4] == b"\x7fELF"
        }
    inside = {Path(name).name for name in programs}
    for name, elf in programs.items():
        missing = needed(elf) - SYSTEM - inside
        assert not missing, f"{name} needs {missing}: not in the wheel, nor on every system"
        assert not elf.get_section_by_name(".symtab"), f"{name} is not stripped"
        data = elf.get_section_by_name(".data").data_size
        assert data < MAX_DATA, f"{name}: {data} bytes of .data, is it of zeros but for a few?"
    (module,) = [name for name in programs if MODULE.fullmatch(name)]
    for name in (module, BENCH):
        unstripped = build / Path(name).name
        count = avx.check(unstripped, programs[name])
        print(f"{name}: {count} AVX instructions, all in the kernels of their levels")
    print(f"{wheel.name}: {len(names)} files, {size / 1e6:.2f} MB (at most {MAX_BYTES / 1e6:g})")


if __name__ == "__main__":
    check(Path(sys.argv[1]), Path(sys.argv[2]))
