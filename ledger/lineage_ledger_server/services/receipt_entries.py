"""The entries of the ledger's own that every receipt carries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from lineage_ledger_server.errors import NotFoundError, RefusedError

if TYPE_CHECKING:
    from lineage_ledger_server.reading.log_reader import LogReader

GENESIS_INDEX: Final = 0
INDEX_WAIT_S: Final = 2.0
"""How long a receipt waits for the indexes to reach its checkpoint: with less it would not always be the same."""


def index_behind(size: int) -> RefusedError:
    """What is refused with then that needs all below `size`."""
    return RefusedError(
        f"the indexes have not reached the checkpoint of size {size} yet; try again", reason="INDEX_BEHIND"
    )


def ledger_entries(reader: LogReader, size: int) -> set[int]:
    """Indexes below `size` of the genesis and of the entries that changed the ledger's key."""
    return {GENESIS_INDEX, *(index for index, _ in reader.key_changes() if index < size)}


def producer_entries(reader: LogReader, public_keys: Iterable[bytes], size: int) -> set[int]:
    """Indexes below `size` of the entries that registered and ended these keys."""
    indexes = set()
    for public_key in public_keys:
        row = reader.producer(public_key)
        if row is None:
            raise NotFoundError(f"no producer with the key {public_key.hex()} is registered")
        indexes.add(row.registered_index)
        indexes.update(index for index in (row.retired_index, row.compromised_index) if 0 < index < size)
    return indexes
