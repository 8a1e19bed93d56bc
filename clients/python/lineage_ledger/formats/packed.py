"""Packed bytes: u16be length ‖ entry, repeated (proto/README.md, "Packed bytes"; C2SP tlog-tiles, entry bundles).

One form for a batch on the wire, a bundle in the store and a range of entries in an answer. Only the framing is
checked here; what an entry holds is `strict`'s to check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lineage_ledger.errors import MalformedBatchError, MalformedEntryError
from lineage_ledger.formats.strict_rules import MAX_ENTRY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LENGTH_BYTES = 2


def frame(entry: bytes) -> bytes:
    """One entry (1 to 65,535 bytes) with its length before it. Raises `MalformedEntryError` for another length."""
    if not 1 <= len(entry) <= MAX_ENTRY_BYTES:
        raise MalformedEntryError(f"an entry of {len(entry)} bytes cannot be packed; it has 1 to {MAX_ENTRY_BYTES:,}")
    return len(entry).to_bytes(LENGTH_BYTES, "big") + entry


def pack(entries: Iterable[bytes]) -> bytes:
    """Pack entries in order. Raises `MalformedEntryError`, with the place, for one that is empty or too long."""
    parts: list[bytes] = []
    for place, entry in enumerate(entries):
        try:
            parts.append(frame(entry))
        except MalformedEntryError as error:
            raise MalformedEntryError(f"place {place}: {error}", place=place) from None
    return b"".join(parts)


def spans(packed: bytes) -> Iterator[tuple[int, int]]:
    """(offset, length) of each entry's bytes, in order.

    Raises `MalformedBatchError`, with the offset of the length, where a length is 0, cut off or too great.
    """
    end, at = len(packed), 0
    while at < end:
        offset = at + LENGTH_BYTES
        length = int.from_bytes(packed[at:offset], "big")
        if offset > end:
            raise MalformedBatchError(f"byte {at}: a length of {LENGTH_BYTES} bytes is cut off", offset=at)
        if length == 0:
            raise MalformedBatchError(f"byte {at}: an entry of 0 bytes; it has 1 to {MAX_ENTRY_BYTES:,}", offset=at)
        if length > end - offset:
            raise MalformedBatchError(
                f"byte {at}: an entry of {length} bytes, but {end - offset} are left; packed bytes end with an entry",
                offset=at,
            )
        yield offset, length
        at = offset + length


def iterate(packed: bytes) -> Iterator[bytes]:
    """Each entry in order. Raises `MalformedBatchError` when it comes to where the bytes do not split."""
    for offset, length in spans(packed):
        yield packed[offset : offset + length]


def split(packed: bytes) -> list[bytes]:
    """All entries; `pack(split(packed)) == packed`. Raises `MalformedBatchError`."""
    return list(iterate(packed))


def entry_at(packed: bytes, place: int) -> bytes:
    """The entry at `place`, from 0. Raises `IndexError` outside, `MalformedBatchError` where a length is wrong.

    Linear in what comes before it; nothing after it is looked at.
    """
    if place >= 0:
        for number, (offset, length) in enumerate(spans(packed)):
            if number == place:
                return packed[offset : offset + length]
    raise IndexError(f"no entry at place {place}")
