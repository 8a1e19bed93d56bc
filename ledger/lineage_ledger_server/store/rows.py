"""Rows of the log's tables: what they mean, and their bytes. Integers are big-endian, so that keys sort by number.

Rows of `batches`, `directory`, `chains`, `chain_ids`, `producers` and `blocks`, and the row `ledger_keys` of `meta`,
end with a checksum. It is against decay, not against people: a flipped bit must not hide that a key was compromised.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lineage_ledger_server.errors import CorruptValueError

HASH_SIZE = 32
# Entries in a bundle, hashes in a tile.
WIDTH = 256
LEDGER_KEYS_KEY = b"ledger_keys"
"""Key of the row of `meta` that points at the changes of the ledger's key."""
TILE_BYTES = WIDTH * HASH_SIZE

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_BATCH = struct.Struct(">IQQI")
_DIRECTORY_KEY = struct.Struct(">IQ")
_CHAIN = struct.Struct(">IQQQ")
_PRODUCER = struct.Struct(">QQQ")


class BatchRow(NamedTuple):
    """One batch: its seal is at `seal_index`, its `count` entries just before."""

    seal_index: int
    chain_ordinal: int
    batch_sequence: int
    first_number: int
    count: int  # type: ignore[assignment]  # tuple.count is of no use here


class ChainRow(NamedTuple):
    """One chain; `ordinal` is its place in the order in which chains came. `conflict_index` 0: none."""

    ordinal: int
    first_seal_index: int
    last_seal_index: int
    conflict_index: int = 0


class ProducerRow(NamedTuple):
    """One producer's key: the entries that registered it, retired it and declared it compromised (0: none)."""

    registered_index: int
    retired_index: int = 0
    compromised_index: int = 0


@dataclass(frozen=True, slots=True)
class GroupWrite:
    """What one commit adds, in finished bytes."""

    first_index: int
    """Must be the store's size."""
    packed: bytes
    """All entries of the group, the block last."""
    leaf_hashes: bytes
    """32 bytes an entry."""
    batches: Sequence[BatchRow]
    """Ascending by `seal_index`."""
    chains: Mapping[bytes, ChainRow]
    """New and changed rows by 16-byte chain id; new ones by ascending ordinal."""
    producers: Mapping[bytes, ProducerRow]
    """New and changed rows by 32-byte public key."""
    block_number: int
    block_index: int
    ledger_keys: Sequence[int] = ()
    """Indexes of all entries that changed the ledger's key, if the group holds one of them; else empty."""


def _unpacked(layout: struct.Struct, value: bytes | memoryview) -> tuple[int, ...]:
    try:
        return layout.unpack(value)
    except struct.error:
        raise CorruptValueError(
            f"a row of the log has a part of {len(value)} bytes where {layout.size} belong; run `lineage audit`, "
            "restore the log from a copy"
        ) from None


def number_key(number: int) -> bytes:
    """Key of `bundles` (bundle number), `tail`, `batches` (index) and `blocks` (block number)."""
    return _U64.pack(number)


def number_of(value: bytes | memoryview) -> int:
    """Undoes `number_key`; also the value of `directory` and `blocks`."""
    return int(_unpacked(_U64, value)[0])


def tile_key(level: int, number: int) -> bytes:
    return _U64.pack(level << 56 | number)


def ordinal_key(ordinal: int) -> bytes:
    return _U32.pack(ordinal)


def directory_key(chain_ordinal: int, batch_sequence: int) -> bytes:
    return _DIRECTORY_KEY.pack(chain_ordinal, batch_sequence)


def with_checksum(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    """The row as it is stored: its value ends with the CRC-32 of key and value."""
    return key, value + _U32.pack(zlib.crc32(key + value))


def without_checksum(table: str, key: bytes | memoryview, stored: bytes | memoryview) -> bytes:
    """The value of a row of `with_checksum`. Raises CorruptValueError if it was changed."""
    value = bytes(stored[: -_U32.size])
    if bytes(stored[-_U32.size :]) != _U32.pack(zlib.crc32(value, zlib.crc32(key))):
        raise CorruptValueError(
            f"row {bytes(key).hex()} of the table {table} is damaged; run `lineage audit`, restore the log from a copy"
        )
    return value


def tail_value(leaf_hashes: bytes, packed: bytes) -> bytes:
    return _U16.pack(len(leaf_hashes) // HASH_SIZE) + leaf_hashes + packed


def split_tail(value: bytes | memoryview) -> tuple[bytes, bytes]:
    """Leaf hashes and packed entries of a tail row."""
    count = tail_count(value)
    split = _U16.size + HASH_SIZE * count
    return bytes(value[_U16.size : split]), bytes(value[split:])


def tail_hashes(value: bytes | memoryview) -> bytes:
    """Leaf hashes of a tail row."""
    return bytes(value[_U16.size : _U16.size + HASH_SIZE * tail_count(value)])


def tail_count(value: bytes | memoryview) -> int:
    """Entries of a tail row, as it says itself."""
    return int(_unpacked(_U16, value[: _U16.size])[0])


def batch_value(row: BatchRow) -> bytes:
    return _BATCH.pack(*row[1:])


def batch_row(seal_index: int, value: bytes | memoryview) -> BatchRow:
    return BatchRow(seal_index, *_unpacked(_BATCH, value))


def chain_value(row: ChainRow) -> bytes:
    return _CHAIN.pack(*row)


def chain_row(value: bytes | memoryview) -> ChainRow:
    return ChainRow(*_unpacked(_CHAIN, value))


def ledger_keys_value(indexes: Sequence[int]) -> bytes:
    """Value of the row `ledger_keys` of `meta`."""
    return b"".join(map(_U64.pack, indexes))


def ledger_key_indexes(value: bytes) -> tuple[int, ...]:
    """Undoes `ledger_keys_value`."""
    return tuple(number_of(value[place : place + _U64.size]) for place in range(0, len(value), _U64.size))


def producer_value(row: ProducerRow) -> bytes:
    return _PRODUCER.pack(*row)


def producer_row(value: bytes | memoryview) -> ProducerRow:
    return ProducerRow(*_unpacked(_PRODUCER, value))
