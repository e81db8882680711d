"""Write Jane Austen's six novels as one plain text file, from Debian's r-cran-janeaustenr.

The package keeps each novel as an R character vector, one element per printed line, in R's
lazy-load database ``Rdata.rdb``: compressed records one behind the other, each a serialised R
object. This reads just that much of the two formats (R Internals, section 1.8 "Serialization
Formats"), so R is not needed.
"""

from __future__ import annotations

import argparse
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

STRING_VECTOR = 16  # R's STRSXP
ORDER = ("SENSE", "PRIDE", "MANSFIELD", "EMMA", "NORTHANGER", "PERSUASION")


def decompress(payload: bytes) -> tuple[bytes, int]:
    """Decompress the zlib record at the start of `payload`; also return the bytes the record used.

    A record is the length of the object (big-endian, 32 bits), then the compressed object.
    """
    size = struct.unpack_from(">I", payload)[0]
    deflate = zlib.decompressobj()
    data = deflate.decompress(payload[4:])
    if len(data) != size:
        raise ValueError(f"a record holds {len(data)} bytes but announces {size}: no R database?")
    return data, len(payload) - len(deflate.unused_data)


def string_vector(data: bytes) -> list[str] | None:
    """The lines of a serialised R character vector (XDR, version 2 or 3), or None."""
    if data[:2] != b"X\n":
        return None
    version = struct.unpack_from(">i", data, 2)[0]
    at = 14
    if version == 3:  # version 3 adds the name of the encoding
        at += 4 + struct.unpack_from(">i", data, at)[0]
    flags, count = struct.unpack_from(">ii", data, at)
    if flags & 0xFF != STRING_VECTOR:
        return None
    at += 8
    lines = []
    for _ in range(count):
        size = struct.unpack_from(">i", data, at + 4)[0]
        at += 8
        lines.append(
            data[at : at + max(size, 0)].decode("latin-1" if flags & 4 else "utf-8", "replace")
        )
        at += max(size, 0)
    return lines


def novels(database: bytes) -> Iterator[list[str]]:
    """Each novel in the database, as its printed lines."""
    while database:
        data, used = decompress(database)
        lines = string_vector(data)
        if lines is not None:
            yield lines
        database = database[used:]


def reflow(lines: list[str]) -> str:
    """Join printed lines into one line per paragraph; drop title page, headings and typography.

    The paragraphs keep only what a small model can learn: plain quotes and dashes, no footnote
    marks, no underscores for italics.
    """
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines))
    kept = []
    for paragraph in paragraphs:
        text = re.sub(r"\s+", " ", paragraph).strip()
        text = text.replace("_", "").replace("`", "'").replace("--", " - ")
        text = text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2014: " - "})
        text = re.sub(r" +", " ", re.sub(r"\[.*?\]", "", text)).strip()
        heading = re.match(r"(chapter|volume|vol\.|the end|finis)\b", text, re.IGNORECASE)
        if not heading and re.search(r"[a-z]", text) and len(text) > 20:
            kept.append(text)
    return "\n".join(kept) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database", type=Path, help="Rdata.rdb of the package janeaustenr")
    parser.add_argument("--out", type=Path, required=True, help="the text file to write")
    arguments = parser.parse_args()

    books = list(novels(arguments.database.read_bytes()))
    titled = {next(n for n in ORDER if n in " ".join(book[:3]).upper()): book for book in books}
    text = "".join(reflow(titled[name]) for name in ORDER)
    arguments.out.write_text(text, encoding="utf-8")
    print(f"{len(titled)} novels, {len(text):,} characters -> {arguments.out}")


if __name__ == "__main__":
    main()
