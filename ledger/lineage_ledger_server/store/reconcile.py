"""Holds the log that is on disk against the head record, before anything is signed over it."""

from __future__ import annotations

from enum import Enum

from lineage_ledger import kernel
from lineage_ledger.errors import LineageError
from lineage_ledger_server.errors import CorruptValueError, HeadMismatchError
from lineage_ledger_server.head import Head
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.packed_entries import span
from lineage_ledger_server.store.right_edge import RightEdge
from lineage_ledger_server.store.rows import WIDTH

_ADVICE = (
    "Nothing will be signed over this log. Put back the newest copy of the log, or find out who changed it; "
    "if the head record is the wrong one, name the right file"
)


class Standing(Enum):
    """How a log that was opened stands to its head record, and what to do."""

    EMPTY = "neither log nor head: begin with the genesis"
    CURRENT = "the head is over all of the log: go on"
    AHEAD = "the last commit was not signed: sign the log's root, record it, go on"


def reconcile(head: Head | None, store: LogStore) -> Standing:
    """Compare the head record with the store, open for writing. The signature of the head's note is not looked at.

    What lies beyond the head was written by a commit that nobody signed before the ledger stopped, so its entries are
    hashed again here. Raises HeadMismatchError if the log is older than the head or another one, CorruptValueError if
    what lies beyond the head is not what its entries hash to.
    """
    if head is None:
        return _without_head(store)
    if store.size < head.size:
        raise HeadMismatchError(
            f"the log has {store.size} entries, but a checkpoint over {head.size} was signed: it is an old copy, or "
            f"was cut. {_ADVICE}"
        )
    try:
        with store.snapshot() as snapshot:
            edge = snapshot.right_edge(head.size)
    except CorruptValueError as error:
        raise HeadMismatchError(f"the log cannot be held against the head record: {error}. {_ADVICE}") from error
    if edge.root() != head.root:
        raise HeadMismatchError(
            f"the log's first {head.size} entries have the root {edge.root().hex()}, but {head.root.hex()} was signed: "
            f"the log, or the right edge of its tiles, was changed. {_ADVICE}"
        )
    if store.size == head.size:
        return Standing.CURRENT
    _check_beyond(edge, store)
    return Standing.AHEAD


def _without_head(store: LogStore) -> Standing:
    """Only a ledger that stopped while it was made has no head: nothing in it, or the first block."""
    if store.size == 0:
        return Standing.EMPTY
    with store.snapshot() as snapshot:
        last_block = snapshot.last_block()
    if last_block is not None and last_block[0] > 1:
        raise HeadMismatchError(
            f"the log has {store.size} entries in {last_block[0]} blocks, but no head record: it was lost, or another "
            f"place was named for it. {_ADVICE}"
        )
    _check_beyond(RightEdge(), store)
    return Standing.AHEAD


def _check_beyond(edge: RightEdge, store: LogStore) -> None:
    """Hash the entries behind `edge`, grow it by them, and compare with the store."""
    size = edge.size
    while edge.size < store.size:
        number, place = divmod(edge.size, WIDTH)
        with store.snapshot() as snapshot:
            _, packed = snapshot.bundle_bytes(number)
        width = min(WIDTH, store.size - number * WIDTH)
        try:
            start, end = span(packed, place, width)
            own = packed[start:end]
            edge = edge.grown(own, kernel.leaf_hashes(own)).edge
        except (LineageError, ValueError) as error:
            raise CorruptValueError(
                f"the bundle of index {edge.size}, beyond the head, does not split into entries: {error}. {_ADVICE}",
                index=edge.size,
            ) from error
    if edge.root() != store.root():
        raise CorruptValueError(
            f"the entries from index {size} on, beyond the head, do not hash to the stored tiles. {_ADVICE}", index=size
        )
