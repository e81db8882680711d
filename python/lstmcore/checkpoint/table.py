"""The sorted-string table that an ``.index`` file is.

LevelDB's table format (``doc/table_format.md``), as TensorFlow uses it. The file::

    data block | type 1 byte | crc 4      blocks of sorted keys and values, each with a trailer
    ...
    metaindex block | type | crc          empty in checkpoints
    index block | type | crc              key -> (offset, size) of a data block
    footer 48 bytes                       handles of metaindex and index block, padding, magic

One block is entries, restart positions (4 bytes each) and their number (4 bytes). One entry is
shared, unshared and value size (varints), then the unshared key bytes and the value.
"""

from __future__ import annotations

from collections.abc import Iterator

from lstmcore.checkpoint.crc import masked_crc32c
from lstmcore.checkpoint.wire import read_varint
from lstmcore.errors import CheckpointError, DataLossError

FOOTER_SIZE = 48
MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_TRAILER_SIZE = 5
_SNAPPY = 1
# A writer restarts the shared prefix every 16 keys, so honest keys grow at most that much when
# unpacked. Twice that leaves room, and bounds what a hostile file can make us allocate.
_MAX_EXPANSION = 32


def read_table(data: bytes, file: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of the table in ``data``, keys strictly ascending.

    Every block is checked against its CRC-32C before it is used. Raises CheckpointError, naming
    ``file``, for anything that is not exactly the format.
    """
    if len(data) < FOOTER_SIZE:
        raise DataLossError(
            f"{file}: expected a table with a footer of {FOOTER_SIZE} bytes, got {len(data)} bytes"
        )
    footer_at = len(data) - FOOTER_SIZE
    if data[-len(MAGIC) :] != MAGIC:
        raise DataLossError(
            f"{file}: expected the table magic {MAGIC.hex()} at the end, got "
            f"{data[-len(MAGIC) :].hex()}: the file is truncated or no checkpoint index"
        )
    padding_end = len(data) - len(MAGIC)
    metaindex, at = _read_handle(data, footer_at, padding_end, f"{file}: footer")
    index, _ = _read_handle(data, at, padding_end, f"{file}: footer")
    _read_block(data, metaindex, f"{file}: metaindex block")

    previous_end = 0
    last_key: bytes | None = None
    budget = _MAX_EXPANSION * len(data)
    index_what = f"{file}: index block"
    for _, value in _entries(_read_block(data, index, index_what), budget, index_what):
        handle, _ = _read_handle(value, 0, len(value), index_what)
        what = f"{file}: data block at byte {handle[0]}"
        # Ascending blocks: without this, thousands of handles could name one big block.
        if handle[0] < previous_end:
            raise DataLossError(f"{what}: overlaps the block that ends at byte {previous_end}")
        previous_end = handle[0] + handle[1] + _TRAILER_SIZE
        for key, content in _entries(_read_block(data, handle, what), budget, what):
            if last_key is not None and key <= last_key:
                raise DataLossError(f"{what}: key {key[:80]!r} is not above {last_key[:80]!r}")
            budget -= len(key)
            last_key = key
            yield key, content


def _read_handle(data: bytes, at: int, end: int, what: str) -> tuple[tuple[int, int], int]:
    """A block handle (offset, size) and the position behind it."""
    offset, at = read_varint(data, at, end, what)
    size, at = read_varint(data, at, end, what)
    return (offset, size), at


def _read_block(data: bytes, handle: tuple[int, int], what: str) -> bytes:
    """The content of one block, its checksum and compression type checked."""
    offset, size = handle
    limit = len(data) - FOOTER_SIZE
    if offset + size + _TRAILER_SIZE > limit:
        raise DataLossError(
            f"{what}: expected {size} bytes and a trailer of {_TRAILER_SIZE} at byte {offset}, "
            f"but the blocks end at byte {limit}"
        )
    end = offset + size
    stored = int.from_bytes(data[end + 1 : end + _TRAILER_SIZE], "little")
    computed = masked_crc32c(data[offset : end + 1])
    if stored != computed:
        raise DataLossError(
            f"{what}: checksum mismatch, stored {stored:#010x}, computed {computed:#010x}: "
            "the file is corrupt"
        )
    compression = data[end]
    if compression == _SNAPPY:
        raise CheckpointError(
            f"{what}: compressed with Snappy, which is not read here; TensorFlow writes V2 indexes "
            "uncompressed. Load and save the checkpoint again with tf.compat.v1.train.Saver"
        )
    if compression != 0:
        raise DataLossError(f"{what}: unknown compression type {compression}, expected 0 (none)")
    return data[offset:end]


def _entries(block: bytes, budget: int, what: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of one block, keys rebuilt from their shared prefixes.

    ``budget`` is how many key bytes the block may unpack to.
    """
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise DataLossError(
            f"{what}: {restarts} restart positions do not fit in a block of {len(block)} bytes"
        )
    key = b""
    at = 0
    while at < end:
        shared, at = read_varint(block, at, end, what)
        unshared, at = read_varint(block, at, end, what)
        size, at = read_varint(block, at, end, what)
        if shared > len(key) or unshared + size > end - at:
            raise DataLossError(
                f"{what}: entry before byte {at} wants {shared} shared, {unshared} own and {size} "
                f"value bytes; there are {len(key)} to share and {end - at} left"
            )
        budget -= shared + unshared
        if budget < 0:
            raise DataLossError(
                f"{what}: keys unpack to more than {_MAX_EXPANSION} times the size of the file"
            )
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + size]
        at += size
