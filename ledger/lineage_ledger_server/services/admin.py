"""AdminService: producers, the ledger's key, and statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from lineage_ledger import kernel
from lineage_ledger.formats import strict
from lineage_ledger.v1 import admin_pb2, admin_pb2_grpc
from lineage_ledger_server.errors import RefusedError, ServerError
from lineage_ledger_server.index.indexer import Indexer
from lineage_ledger_server.ledger import Ledger
from lineage_ledger_server.sequencer import producers
from lineage_ledger_server.sequencer.producers import AdminChange
from lineage_ledger_server.sequencer.signing import KeyChange, check_key_change
from lineage_ledger_server.sequencer.submissions import Changed
from lineage_ledger_server.services.append import AppendService, wait_for
from lineage_ledger_server.services.errors import Caller
from lineage_ledger_server.services.memory import resident_bytes

MAX_PAGE_SIZE = 1_000
DEFAULT_PAGE_SIZE = 100


class Readers(Protocol):
    """Processes that serve reads: how many there should be, and are."""

    @property
    def number(self) -> int: ...
    @property
    def serving(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What statistics are read from."""

    ledger: Ledger
    indexer: Indexer
    append: AppendService
    readers: Readers | None


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Changes to producers go through the sequencer like batches; they are answered when they are published."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._ledger = parts.ledger

    def RegisterProducer(
        self, request: admin_pb2.RegisterProducerRequest, context: Caller
    ) -> admin_pb2.RegisterProducerResponse:
        changed = self._change(request.entry, "producer_registered", context)
        return admin_pb2.RegisterProducerResponse(index=changed.index, checkpoint=changed.head.note)

    def RetireProducer(
        self, request: admin_pb2.RetireProducerRequest, context: Caller
    ) -> admin_pb2.RetireProducerResponse:
        changed = self._change(request.entry, "producer_retired", context)
        return admin_pb2.RetireProducerResponse(index=changed.index, checkpoint=changed.head.note)

    def CompromiseProducer(
        self, request: admin_pb2.CompromiseProducerRequest, context: Caller
    ) -> admin_pb2.CompromiseProducerResponse:
        changed = self._change(request.entry, "producer_compromised", context)
        return admin_pb2.CompromiseProducerResponse(index=changed.index, checkpoint=changed.head.note)

    def ChangeLedgerKey(
        self, request: admin_pb2.ChangeLedgerKeyRequest, context: Caller
    ) -> admin_pb2.ChangeLedgerKeyResponse:
        ledger = self._ledger
        new_key_file = ledger.data_dir.new_ledger_key
        change = check_key_change(request.entry, ledger.origin, ledger.admin_public_keys, new_key_file)
        changed = self._changed(change, context)
        return admin_pb2.ChangeLedgerKeyResponse(index=changed.index, checkpoint=changed.head.note)

    def _change(self, entry: bytes, kind: str, context: Caller) -> Changed:
        change = producers.check_admin_entry(entry, kind, self._ledger.origin, self._ledger.admin_public_keys)
        return self._changed(change, context)

    def _changed(self, change: AdminChange | KeyChange, context: Caller) -> Changed:
        outcome = wait_for(self._ledger.sequencer, change, context)
        if not isinstance(outcome, Changed):
            raise ServerError("the sequencer answered an admin's change with something else")
        witnesses = self._ledger.witnesses
        if witnesses is not None and witnesses.required:
            return replace(outcome, head=witnesses.wait(outcome.head.size) or outcome.head)
        return outcome

    def ListProducers(
        self, request: admin_pb2.ListProducersRequest, context: Caller
    ) -> admin_pb2.ListProducersResponse:
        size = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        after = _parse_page_token(request.page_token)
        rows = self._ledger.signed_reader.producers(after, size)
        response = admin_pb2.ListProducersResponse()
        for _, row in rows:
            producer = producers.restored(row, self._ledger.signed_reader.entry)
            state = admin_pb2.PRODUCER_STATE_ACTIVE
            if producer.compromised:
                state = admin_pb2.PRODUCER_STATE_COMPROMISED
            elif producer.retired:
                state = admin_pb2.PRODUCER_STATE_RETIRED
            response.producers.add(
                public_key=producer.public_key,
                name=producer.name,
                state=state,
                registered_index=row.registered_index,
                ended_index=row.compromised_index or row.retired_index,
                last_block=producer.last_block,
                suspect_since_unix_ns=producer.suspect_since_unix_ns,
            )
        if len(rows) == size:
            response.next_page_token = rows[-1][0].hex()
        return response

    def GetStatistics(
        self, request: admin_pb2.GetStatisticsRequest, context: Caller
    ) -> admin_pb2.GetStatisticsResponse:
        store, reader, witnesses = self._ledger.store, self._ledger.signed_reader, self._ledger.witnesses
        head = reader.head()
        block = strict.parse_entry(reader.entry(head.size - 1)).block
        with store.snapshot() as snapshot:
            counts = snapshot.counts()
        status = self._ledger.sequencer.status
        totals, readers = self._parts.indexer.totals(), self._parts.readers
        return admin_pb2.GetStatisticsResponse(
            origin=self._ledger.origin,
            tree_size=head.size,
            block_number=block.number,
            block_time_unix_ns=block.time_unix_ns,
            producers=counts.producers,
            chains=counts.chains,
            batches=counts.batches,
            predictions=totals.predictions,
            lost=totals.lost,
            indexed_size=self._parts.indexer.indexed_size,
            log_bytes=store.file_bytes,
            index_bytes=self._parts.indexer.file_bytes,
            log_map_bytes=store.map_bytes,
            append_streams=self._parts.append.streams,
            max_append_streams=self._parts.append.max_streams,
            writable=status.writable,
            not_writable_reason=status.message,
            kernel=kernel.KERNEL,
            witnessed_size=witnesses.witnessed.size if witnesses is not None and witnesses.witnessed is not None else 0,
            witnesses_required=witnesses is not None and witnesses.required,
            witnesses=[admin_pb2.Witness(**one._asdict()) for one in (witnesses.statuses if witnesses else ())],
            readers_serving=readers.serving if readers else 0,
            readers=readers.number if readers else 0,
            log_use=admin_pb2.LogUse(**store.disk_use()._asdict()),
            index_use=admin_pb2.IndexUse(**self._parts.indexer.disk_use()._asdict()),
            index_work=admin_pb2.IndexWork(**self._parts.indexer.work._asdict()),
            index_error=self._parts.indexer.status.error,
            oldest_read_commits=store.oldest_read(),
            pending_bytes=self._parts.append.pending_bytes,
            max_pending_bytes=self._parts.append.max_pending_bytes,
            memory_bytes=resident_bytes(),
        )


def _parse_page_token(token: str) -> bytes:
    """The public key that the page before ended with; empty for the first page. Raises `RefusedError`."""
    if not token:
        return b""
    if len(token) != 64 or set(token) - set("0123456789abcdef"):
        raise RefusedError(
            "the page token is not one that this call gave out; start with an empty one", reason="INVALID_PAGE_TOKEN"
        )
    return bytes.fromhex(token)
