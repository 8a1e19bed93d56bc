"""How whoever pinned one of the ledger's keys learns the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lineage_ledger.v1 import proofs_pb2

if TYPE_CHECKING:
    from lineage_ledger_server.reading.log_reader import LogReader


def key_history(reader: LogReader, size: int, *, with_proof: bool) -> proofs_pb2.KeyHistory:
    """The genesis and every change of the ledger's key in the first `size` entries, proven there if that is wished."""
    changes = [(index, entry) for index, entry in reader.key_changes() if index < size]
    indexes = [0, *(index for index, _ in changes)]
    return proofs_pb2.KeyHistory(
        genesis=reader.entry(0),
        changes=[proofs_pb2.KeyChange(index=index, entry=entry) for index, entry in changes],
        proof=reader.multiproof(indexes, size) if with_proof else (),
    )
