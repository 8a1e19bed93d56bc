"""What is done to whole batches at once: split, strict scan, leaf hashes, roots, request-id rows.

In C (`_kernel.c`) if the extension was built, else in Python (`_kernel_python.py`), with the same results and the
same refusals. The environment variable LINEAGE_KERNEL chooses one: "c" or "python". The C kernel holds its input and
lets other threads run, unless it is only a few KiB; a writable buffer is copied first, so that a change meanwhile
cannot mislead it.

Every function takes contiguous buffers (else BufferError). Packed entries are u16be length ‖ entry, repeated.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from lineage_ledger import _kernel_checks
from lineage_ledger._kernel_checks import Buffer
from lineage_ledger.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType


def _choose(wish: str) -> tuple[str, ModuleType]:
    """An implementation and its name."""
    if wish not in ("", "c", "python"):
        raise SettingsError(f'LINEAGE_KERNEL is {wish!r}; it must be "c", "python" or not set')
    if wish != "python":
        try:
            return "c", import_module("lineage_ledger._kernel")
        except ImportError as error:
            if wish == "c":
                raise SettingsError(f"LINEAGE_KERNEL is c, but the C kernel cannot be loaded: {error}") from error
    return "python", import_module("lineage_ledger._kernel_python")


if TYPE_CHECKING:
    from lineage_ledger import _kernel_python as _kernel  # the extension has the same functions

    KERNEL: str
else:
    KERNEL, _kernel = _choose(os.environ.get("LINEAGE_KERNEL", ""))


def describe() -> str:
    """Which kernel is in use and what its SHA-256 goes by, in words: what makes hashing fast or slow here."""
    if KERNEL == "c":
        return "C, SHA-256 by " + (
            "the processor's instructions" if _kernel.uses_sha_instructions() else "portable code"
        )
    why = "LINEAGE_KERNEL asks for it" if os.environ.get("LINEAGE_KERNEL") else "there is no C kernel to load"
    return f"Python, SHA-256 by hashlib; {why}"


class ScannedBatch(NamedTuple):
    """What one scan of packed entries found."""

    count: int  # type: ignore[assignment]  # of entries, of every kind (tuple.count is of no use here)
    leaf_hashes: bytes  # 32 bytes an entry
    binding_counts: tuple[int, ...]  # predictions of each binding row; element r - 1 is row r, the last is not 0
    earliest_start_time_unix_ns: int  # of the predictions; 0 if there is none
    latest_start_time_unix_ns: int
    others: tuple[tuple[int, int, int], ...]  # entries that are no predictions: place, offset of the entry, its length
    other_tags: bytes  # first byte of each of them


def learn_strict(tables: bytes, scan_message: Callable[[int, bytes], None]) -> None:
    """Take the rules of the strict encoding, which `formats.strict` hands over once, when it is imported.

    `tables` are what `formats.strict_tables` wrote; `scan_message` checks the message of a place in them and says what
    is wrong with it. Raises ValueError if the C kernel cannot go by the tables, or has others already.
    """
    _kernel_checks.learn_strict(scan_message)
    _kernel.learn_strict(tables)


def check_strict(place: int, data: bytes) -> None:
    """Check the message of this place in the tables (0: an entry); MalformedEntryError if it is malformed."""
    _kernel.check_strict(place, data)


def scan(packed: Buffer) -> ScannedBatch:
    """Split packed entries, check each against the strict encoding, and hash all leaves.

    Raises MalformedBatchError if the bytes do not split into entries of 1 to 65,535 bytes, or are more than 16,385
    entries or 4 MiB; MalformedEntryError for the first entry that is malformed.
    """
    return ScannedBatch._make(_kernel.scan(packed))


def scan_batch(packed: Buffer) -> tuple[ScannedBatch, bytes]:
    """As `scan`, and in the same call the root of the batch's body, 32 bytes: what `SealBody.root` is to say.

    The body is what lies before a seal at the end; all of it if the last entry is no seal, as before sealing.
    """
    scanned, body_root = _kernel.scan_batch(packed)
    return ScannedBatch._make(scanned), body_root


def leaf_hashes(packed: Buffer) -> bytes:
    """Leaf hashes (RFC 6962, section 2.1) of packed entries, 32 bytes each; what is in the entries is not looked at.

    Raises MalformedBatchError if the bytes do not split into entries, or are more than 32 MiB.
    """
    return _kernel.leaf_hashes(packed)


def entry_offsets(packed: Buffer, first: int, step: int) -> list[int]:
    """Byte offsets of the entries `first`, `first + step`, …; the end of the bytes counts as one more entry's offset.

    Raises MalformedError if the bytes end inside an entry, `first` is below 0 or `step` below 1.
    """
    return _kernel.entry_offsets(packed, first, step)


def tree_root(leaf_hashes: Buffer) -> bytes:
    """Merkle tree hash (RFC 6962, section 2.1) over 32-byte leaf hashes; 32 bytes. Of none: SHA-256 of nothing.

    Raises MalformedError if the length is not a multiple of 32.
    """
    return _kernel.tree_root(leaf_hashes)


def tile_roots(leaf_hashes: Buffer) -> bytes:
    """For each full run of 256 hashes its root, 32 bytes; the hashes after the last full run are left out.

    Raises MalformedError if the length is not a multiple of 32.
    """
    return _kernel.tile_roots(leaf_hashes)


class RequestIdRows(NamedTuple):
    """What one look at stored entries found."""

    count: int  # type: ignore[assignment]  # of entries, of every kind
    rows: bytes  # 13 bytes for each prediction with a request id
    others: list[tuple[int, bytes]]  # entries that are no predictions: place, bytes


def request_id_rows(parts: Sequence[Buffer], first_offset: int) -> RequestIdRows:
    """For each prediction with a request id: SHA-256(request_id)[:10] ‖ u24be(first_offset + place); sorted.

    The parts are packed entries that follow each other. Raises as `scan` does, of a part, but takes up to 32 MiB in
    each; MalformedError if an entry's offset does not fit into 24 bits.
    """
    return RequestIdRows._make(_kernel.request_id_rows(parts, first_offset))


def merge_rows(runs: Sequence[Buffer]) -> bytes:
    """Merge sorted runs of 13-byte rows, ordered by all of their bytes; equal rows are kept.

    Raises MalformedError if a run is not sorted or no multiple of 13 bytes, or if there are more than 2^24 rows.
    """
    return _kernel.merge_rows(runs)


def find_rows(runs: Sequence[Buffer], first_row: bytes, limit: int) -> list[tuple[int, int]]:
    """Rows that begin with the first 10 of the 13 bytes `first_row`, run by run in their order: (run, offset).

    In the first run only those from `first_row` on; at most `limit`, which is up to 2^20. Of runs that are not sorted
    only some may be found. Raises MalformedError if a run is no multiple of 13 bytes, or for a limit out of range.
    """
    return _kernel.find_rows(runs, first_row, limit)
