"""Chains: which there are, and the receipts that prove runs of their seals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats import seal
from lineage_ledger.formats.chain_receipt import MAX_SEALS, ChainReceipt
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.receipt_text import MAX_RECEIPT_BYTES
from lineage_ledger.v1 import proofs_pb2
from lineage_ledger_server.errors import CorruptValueError, LimitError, NotFoundError, RefusedError
from lineage_ledger_server.services.pages import decode_token, encode_token, page_size
from lineage_ledger_server.services.receipt_entries import (
    INDEX_WAIT_S,
    index_behind,
    ledger_entries,
    producer_entries,
)
from lineage_ledger_server.store.index_store import Posting

if TYPE_CHECKING:
    from lineage_ledger_server.head import Head
    from lineage_ledger_server.index.lookup import Lookup
    from lineage_ledger_server.reading.log_reader import LogReader
    from lineage_ledger_server.store.rows import ChainRow

MAX_PAGE_SIZE: Final = 1_000
DEFAULT_PAGE_SIZE: Final = 100
MAX_LOOKED_AT: Final = 16_384
"""Seals looked at for one page; then it is given out as it is, with a token to go on."""
_ASK_EVERY: Final = 256
_LINE_BYTES: Final = 32  # of a seal's line but its entry; what the proof takes is known when it is made


class Chains:
    """Needs the log and its indexes only, so it can run in another process than the sequencer."""

    def __init__(self, reader: LogReader, lookup: Lookup) -> None:
        self._reader = reader
        self._lookup = lookup

    def page(self, request: proofs_pb2.ListChainsRequest, check: Callable[[], None]) -> proofs_pb2.ListChainsResponse:
        """A page of chains. Raises `RefusedError`, also while the indexes are behind.

        `check` is called now and then, and raises to end the work.
        """
        for name in ("public_key", "deployment_hash"):
            if len(getattr(request, name)) not in (0, HASH_SIZE):
                raise RefusedError(f"{name} has 32 bytes, or is absent", reason="INVALID_ARGUMENT")
        if not request.public_key and not request.deployment_hash:
            raise RefusedError("no criterion is set; set public_key or deployment_hash", reason="INVALID_ARGUMENT")
        start = decode_token(request.page_token, request, 1)[0] if request.page_token else 0
        wanted = page_size(request.page_size, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        # Who asks whether something is missing must not be told of fewer chains than there are.
        size = self._reader.head().size
        if not self._lookup.wait_for(size, INDEX_WAIT_S):
            raise index_behind(size)
        found: dict[bytes, proofs_pb2.Chain] = {}
        for looked_at, seal_index in enumerate(self._candidates(request, start)):
            if looked_at % _ASK_EVERY == 0:
                check()
            if len(found) == wanted or looked_at == MAX_LOOKED_AT:
                return proofs_pb2.ListChainsResponse(
                    chains=found.values(), next_page_token=encode_token(request, (seal_index,))
                )
            body = self._reader.seal_of(seal_index)[1].body
            if request.public_key in (b"", body.public_key) and body.chain_id not in found:
                found[body.chain_id] = self._chain(body.chain_id)
        return proofs_pb2.ListChainsResponse(chains=found.values())

    def _candidates(self, request: proofs_pb2.ListChainsRequest, start: int) -> Iterator[int]:
        """Indexes of seals, ascending, whose chains may be wanted; several may be of one chain."""
        end = self._lookup.searchable_size()
        if request.deployment_hash:
            yield from (row.seal_index for row in self._lookup.bound_seals(request.deployment_hash, start, end))
        else:
            yield from self._lookup.indexes(Posting.OPENED, request.public_key, start, end)

    def _chain(self, chain_id: bytes) -> proofs_pb2.Chain:
        row = self._row(chain_id)
        last = self._reader.seal_of(row.last_seal_index)[1].body
        successor = self._successor(chain_id, last.public_key, self._lookup.searchable_size())
        return proofs_pb2.Chain(
            chain_id=chain_id,
            public_key=last.public_key,
            first_seal_index=row.first_seal_index,
            last_seal_index=row.last_seal_index,
            last_sequence=last.batch_sequence,
            conflict_index=row.conflict_index,
            closed=last.closing,
            successor_chain_id=self._reader.seal_of(successor)[1].body.chain_id if successor else b"",
        )

    def _row(self, chain_id: bytes) -> ChainRow:
        if len(chain_id) != seal.CHAIN_ID_BYTES:
            raise RefusedError(f"a chain id has {seal.CHAIN_ID_BYTES} bytes", reason="INVALID_ARGUMENT")
        row = self._reader.chain(chain_id)
        if row is None:
            raise NotFoundError(f"no chain {chain_id.hex()} is logged here")
        return row

    def _successor(self, chain_id: bytes, public_key: bytes, size: int) -> int:
        """Index of the first seal that opens another chain of the same key and names this one; 0 if there is none."""
        index = self._lookup.first(Posting.RECOVERED, chain_id + public_key, size)
        if index is None:
            return 0
        body = self._reader.seal_of(index)[1].body
        if (body.public_key, body.predecessor.chain_id, body.batch_sequence) != (public_key, chain_id, 0):
            raise CorruptValueError(
                f"the indexes say RECOVERED of entry {index}, which the entry does not; have them made again",
                index=index,
            )
        return index

    def receipt(self, wanted: proofs_pb2.ChainRange, head: Head, check: Callable[[], None]) -> bytes:
        """The chain receipt of a run of seals under `head`. One checkpoint, one receipt.

        It holds as many of the wanted seals as fit. Raises `NotFoundError` if there is not one of them, `LimitError` if
        one seal alone does not fit.
        """
        row = self._row(wanted.chain_id)
        if not self._lookup.wait_for(head.size, INDEX_WAIT_S):
            raise index_behind(head.size)
        count = min(wanted.count or MAX_SEALS, MAX_SEALS)
        run = self._run(row, wanted.first_sequence, count, head.size, check)
        opening = seal.parse_seal(self._reader.entry(row.first_seal_index)).body
        around = ledger_entries(self._reader, head.size)
        around |= producer_entries(self._reader, [opening.public_key], head.size)
        around.add(row.first_seal_index)
        if 0 < row.conflict_index < head.size:
            around.add(row.conflict_index)
        successor = self._successor(wanted.chain_id, opening.public_key, head.size)
        if successor:
            around.add(successor)
        while run:
            check()
            indexes = sorted({*around, *run, self._reader.block_after(run[-1], head.size)})
            entries = {index: self._reader.entry(index) for index in indexes}
            receipt = ChainReceipt(
                wanted.chain_id,
                wanted.first_sequence,
                entries,
                tuple(self._reader.multiproof(indexes, head.size)),
                head.note,
            )
            try:
                return receipt.encode()
            except MalformedError:
                run = run[: len(run) * 3 // 4]
        raise LimitError(
            "one seal alone does not fit into a receipt", limit="max_receipt_bytes", value=MAX_RECEIPT_BYTES
        )

    def _run(self, row: ChainRow, first: int, count: int, size: int, check: Callable[[], None]) -> list[int]:
        """Indexes of the chain's seals from a sequence on, as many as may fit."""
        found: list[int] = []
        held_bytes = 0
        for place, index in enumerate(self._reader.seals_of_chain(row, first, count)):
            if place % _ASK_EVERY == 0:
                check()
            held_bytes += len(self._reader.entry(index)) * 4 // 3 + _LINE_BYTES
            if index >= size or (found and held_bytes > MAX_RECEIPT_BYTES):
                break
            found.append(index)
        if not found:
            raise NotFoundError(f"the chain has no seal of sequence {first} under the checkpoint of size {size}")
        return found
