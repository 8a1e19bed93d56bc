"""The client for asyncio; what it asks and how it checks is that of `lineage_ledger.client`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from lineage_ledger.agreement import InclusionProof, Steps, ask
from lineage_ledger.answers import LoggedEntry, LoggedPrediction, check_end, check_place
from lineage_ledger.chain_receipts import VerifiedChain
from lineage_ledger.errors import RpcError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.operations import (
    Operations,
    parsed,
    subject_of,
)
from lineage_ledger.rpc import methods
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.v1 import admin_pb2, append_pb2, entries_pb2, proofs_pb2, trace_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from lineage_ledger.rpc.aio import AioConnection

T = TypeVar("T")

_PRODUCERS_PAGE = 1_000
_CHAINS_PAGE = 1_000


class AsyncClient:
    """A ledger as seen through its server. `ledger` is its verifier key, which every answer is held against.

    Every method may raise `RpcError`, when the server refuses or cannot be reached, and `VerificationError`, when what
    it answered does not prove what was asked; of these `HistoryError` (`ForkError`, `RollbackError`, `StaleError`,
    `OtherOriginError`) for what contradicts what the ledger signed before, with the signed notes as evidence.
    """

    def __init__(
        self,
        target: str | Endpoint,
        *,
        ledger: str,
        checkpoint_file: Path | str | None = None,
        max_block_age_s: float | None = None,
    ) -> None:
        """Makes no connection yet.

        With `checkpoint_file` the newest checkpoint is remembered there, for the next run and for others with the same
        file. With `max_block_age_s` (180 fits a ledger's settings as they come) an answer from a tree whose newest
        block is older raises `StaleError`. The file is read and written in the event loop, which takes it some
        milliseconds for each newer checkpoint. Raises `SettingsError`, `MalformedError`, and with a file
        `CheckpointFileError`, or `ForkError` if a fork was seen before and nobody has looked since.
        """
        self.endpoint = target if isinstance(target, Endpoint) else Endpoint(target)
        self._operations = Operations(
            Verifier.parse(ledger), checkpoint_file=checkpoint_file, max_block_age_s=max_block_age_s
        )
        self._connection: AioConnection | None = None

    @property
    def verifier(self) -> Verifier:
        """The pinned key."""
        return self._operations.verifier

    @property
    def origin(self) -> str:
        """The ledger's name."""
        return self._operations.verifier.name

    def verifier_at(self, size: int) -> Verifier:
        """The key that signs a checkpoint of `size` entries, by the changes of the key that were seen here."""
        return self._operations.history.keys.verifier_at(size)

    async def ledger_information(self) -> append_pb2.GetLedgerResponse:
        """Version and limits, as the server says; nothing of it is proven."""
        return await self._run(ask(methods.GET_LEDGER, append_pb2.GetLedgerRequest()))

    async def checkpoint(self) -> Checkpoint:
        """The newest checkpoint, consistent with every other that this client has seen."""
        return await self._run(self._operations.checkpoint())

    async def signed_checkpoint(self, *, witnessed: bool = False) -> tuple[Checkpoint, bytes]:
        """The same, with the signed note that says it, to be kept elsewhere.

        `witnessed`: the newest with the cosignatures of the ledger's witness policy, which may be an older one.
        """
        return await self._run(self._operations.signed_checkpoint(witnessed=witnessed))

    async def open_checkpoint(self, signed: bytes) -> Checkpoint:
        """A checkpoint that was kept, a signed note, checked with the ledger's key of its size.

        Asks the server only if that is another key than those known here.
        """
        return await self._run(self._operations.opened(signed))

    async def compare(self, signed: bytes) -> tuple[Checkpoint, Checkpoint]:
        """Hold a checkpoint that somebody else saw, a signed note, against the newest here; returns both, its first.

        Raises `ForkError` if the server shows others a different history, or cannot prove that it does not.
        """
        return await self._run(self._operations.compare(signed))

    async def consistency_proof(self, older: Checkpoint, newer: Checkpoint | None = None) -> tuple[bytes, ...]:
        """That the tree of `newer` (the newest if None) goes on from that of `older`; hashes of RFC 6962, 2.1.2."""
        return await self._run(self._operations.consistency_proof(older, newer))

    async def inclusion_proof(self, index: int) -> InclusionProof:
        """That some leaf is at `index`."""
        return await self._run(self._operations.inclusion_proof(index))

    async def get_entry(self, index: int) -> LoggedEntry:
        """The entry at `index`."""
        return await self._run(self._operations.entry(index))

    async def stream_entries(self, start: int = 0, end: int = 0) -> AsyncIterator[tuple[int, bytes]]:
        """Entries [start, end), or to the end of the tree: first index and packed entries, some at a time, in order."""
        end = end or (await self.checkpoint()).size
        request = entries_pb2.StreamEntriesRequest(start=start, end=end)
        expected = start
        stream = self._connected().stream(methods.STREAM_ENTRIES, request)
        try:
            async for response in stream:
                check_place(expected, response)
                steps = self._operations.packed(response.first_index, response.count, response.packed)
                yield response.first_index, await self._run(steps)
                expected = response.first_index + response.count
        finally:
            await stream.aclose()
        check_end(expected, end)

    async def get_prediction(self, prediction_id: PredictionId | str) -> LoggedPrediction:
        """The prediction with that id."""
        return await self._run(self._operations.prediction(parsed(prediction_id)))

    async def find_predictions(
        self,
        *,
        request_id: bytes = b"",
        from_time_unix_ns: int = 0,
        until_time_unix_ns: int = 0,
        public_key: bytes = b"",
        deployment_hash: bytes = b"",
    ) -> AsyncIterator[LoggedPrediction]:
        """Predictions for which all criteria that are given hold, oldest first.

        Each is proven. That none is missing is not, nor that the ledger took them within the times asked for.
        """
        criteria = entries_pb2.FindPredictionsRequest(
            request_id=request_id,
            from_time_unix_ns=from_time_unix_ns,
            until_time_unix_ns=until_time_unix_ns,
            public_key=public_key,
            deployment_hash=deployment_hash,
        )
        after = -1
        while True:
            page = await self._run(self._operations.find(criteria, after))
            for item in page.items:
                after = item.index
                yield item
            if not page.next_page_token:
                return
            criteria.page_token = page.next_page_token

    async def receipt(self, subject: PredictionId | str | int, *, witnessed: bool = False) -> bytes:
        """A lineage receipt of a prediction, or a tlog-proof of the entry at an index, verified.

        `witnessed`: under the newest checkpoint with the cosignatures of the ledger's witness policy.
        """
        found = subject if isinstance(subject, int) else parsed(subject)
        return await self._run(self._operations.receipt(found, witnessed=witnessed))

    async def chain_receipts(self, chain_id: bytes) -> AsyncIterator[tuple[bytes, VerifiedChain]]:
        """As `Client.chain_receipts`."""
        last_sequence = -1
        while True:
            try:
                receipt, run = await self._run(self._operations.chain_receipt(chain_id, last_sequence + 1))
            except RpcError as error:
                if error.reason == "NOT_FOUND" and last_sequence >= 0:
                    return
                raise
            yield receipt, run
            last_sequence = run.seals[-1].seal.body.batch_sequence
            if run.closed:
                return

    async def chains(self, *, public_key: bytes = b"", deployment_hash: bytes = b"") -> AsyncIterator[proofs_pb2.Chain]:
        """As `Client.chains`."""
        request = proofs_pb2.ListChainsRequest(
            public_key=public_key, deployment_hash=deployment_hash, page_size=_CHAINS_PAGE
        )
        while True:
            response = await self._run(ask(methods.LIST_CHAINS, request))
            for chain in response.chains:
                yield chain
            if not response.next_page_token or response.next_page_token == request.page_token:
                return
            request.page_token = response.next_page_token

    async def trace(self, subject: PredictionId | int | bytes) -> AsyncIterator[trace_pb2.TraceNode]:
        """All that a prediction (id), entry (index) or artifact (SHA-256) came from, breadth first.

        Every node's entry is proven, and that the first is what was asked for. Edges, and who sealed a node, are as the
        server says: a receipt proves them for a prediction. That no run or attestation is missing is not shown.
        """
        request = subject_of(subject)
        known = 0
        while True:
            page = await self._run(self._operations.trace(request, known))
            known += len(page.items)
            for item in page.items:
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    # -- administration --------------------------------------------------------------------------------------

    async def producers_add(
        self, public_key: bytes, name: str, *, possession_signature: bytes, admin_key: SigningKey
    ) -> int:
        """Register a producer's key; returns the index of the registration."""
        return await self._run(self._operations.register(public_key, name, possession_signature, admin_key))

    async def producers_retire(self, public_key: bytes, last_block: int, *, admin_key: SigningKey) -> int:
        """Retire a key: it opens no chain, its open ones go on up to block `last_block`."""
        return await self._run(self._operations.retire(public_key, last_block, admin_key))

    async def producers_compromise(
        self, public_key: bytes, suspect_since_unix_ns: int, *, admin_key: SigningKey
    ) -> int:
        """Declare a key compromised: nothing that it signed is taken any more."""
        return await self._run(self._operations.compromise(public_key, suspect_since_unix_ns, admin_key))

    async def producers_list(self) -> AsyncIterator[admin_pb2.Producer]:
        """All producers, as the server says."""
        request = admin_pb2.ListProducersRequest(page_size=_PRODUCERS_PAGE)
        while True:
            response = await self._run(ask(methods.LIST_PRODUCERS, request))
            for producer in response.producers:
                yield producer
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def change_ledger_key(self, entry: bytes) -> int:
        """Put a new ledger key in force by a signed entry (`formats.admin.build_ledger_key_change`); returns its index.

        The server must have been given the new private key before.
        """
        return await self._run(self._operations.change_ledger_key(entry))

    async def statistics(self) -> admin_pb2.GetStatisticsResponse:
        """How the server is doing, as it says."""
        return await self._run(ask(methods.GET_STATISTICS, admin_pb2.GetStatisticsRequest()))

    async def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _connected(self) -> AioConnection:
        if self._connection is None:
            from lineage_ledger.rpc.aio import AioConnection  # Late: it imports grpc, which takes 0.1 s.

            self._connection = AioConnection(self.endpoint)
        return self._connection

    async def _run(self, steps: Steps[T]) -> T:
        connection = self._connected()
        go_on = partial(steps.send, None)
        while True:
            try:
                call = go_on()
            except StopIteration as done:
                result: T = done.value
                return result
            try:
                go_on = partial(steps.send, await connection.call(call.method, call.request))
            except RpcError as error:  # What a refusal means is for whoever asked to say.
                go_on = partial(steps.throw, error)
