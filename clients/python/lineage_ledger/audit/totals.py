"""Totals over a whole ledger, as its seals say, from an audit that holds every seal against its entries."""

from __future__ import annotations

from collections.abc import Collection

from lineage_ledger.audit.facts import BatchFacts, LedgerFacts
from lineage_ledger.audit.observer import Observer
from lineage_ledger.audit.report import Report
from lineage_ledger.audit.state import AuditState
from lineage_ledger.completeness import ChainTotals, Window
from lineage_ledger.trace import digest_key
from lineage_ledger.v1 import entry_pb2


class TotalsObserver(Observer):
    """Adds up, while an audit goes by, what is within a window of time and of the deployments asked for.

    `deployment_hash` (leaf hash, 32 bytes) and `model` leave out all other predictions, where they are given. Entries
    behind the checkpoint are left out. What it says is as good as the audit's exit status.
    """

    def __init__(
        self,
        window: Window,
        *,
        chain_ids: Collection[bytes] = (),
        public_key: bytes = b"",
        deployment_hash: bytes = b"",
        model: entry_pb2.Digest | None = None,
    ) -> None:
        self._window = window
        self._chain_ids = frozenset(chain_ids)
        self._public_key = public_key
        self._deployment_hash = deployment_hash
        self._model_key = digest_key(model) if model is not None else b""
        self._of_model: set[bytes] = set()
        self._size = 0
        self._since = 0
        self._chains: dict[bytes, ChainTotals] = {}
        self._open: list[ChainTotals] = []
        self._successors: dict[tuple[bytes, bytes], entry_pb2.SealBody] = {}
        """By the chain that is named as predecessor, and the key: the first opening seal that names it."""
        self._registered: Collection[bytes] = ()
        self.newest_block_time_unix_ns = 0

    @property
    def since(self) -> int:
        """Entries that were not read, as an audit state stood for them, and are not in the totals."""
        return self._since

    def knows_chain(self, chain_id: bytes) -> bool:
        """Whether the ledger has the chain (16 bytes)."""
        return chain_id in self._chains

    def knows_producer(self, public_key: bytes) -> bool:
        """Whether the key (32 bytes) was registered."""
        return public_key in self._registered

    @property
    def chains(self) -> list[ChainTotals]:
        """The chains asked for, in the order in which they were opened; with a deployment, those whose seals name it.

        To be asked once, after the audit.
        """
        wanted = [
            chain
            for chain in self._chains.values()
            if (not self._chain_ids or chain.chain_id in self._chain_ids)
            and self._public_key in (b"", chain.public_key)
        ]
        narrowed = (
            {self._deployment_hash} if self._deployment_hash else None,
            self._of_model if self._model_key else None,
        )
        for deployments in narrowed:
            if deployments is not None:
                for chain in wanted:
                    chain.narrow(deployments)
                wanted = [chain for chain in wanted if chain.by_deployment]
        return wanted

    def start(self, size: int) -> None:
        """See `Observer.start`."""
        self._size = size

    def begin(self, since: AuditState) -> None:
        """See `Observer.begin`."""
        self._since = since.size

    def on_deployment(self, leaf_hash: bytes, deployment: entry_pb2.Deployment) -> None:
        """See `Observer.on_deployment`. It may come before what is bound to it, or after."""
        if self._model_key and digest_key(deployment.model) == self._model_key:
            self._of_model.add(leaf_hash)

    def on_batch(self, batch: BatchFacts) -> None:
        """See `Observer.on_batch`."""
        if batch.seal_index >= self._size:
            return
        body = batch.body
        chain = self._chains.get(body.chain_id)
        if chain is None:
            chain = self._chains[body.chain_id] = ChainTotals(body.chain_id, body.public_key)
        chain.add(batch.seal_index, body, self._window)
        self._open.append(chain)
        if body.HasField("predecessor") and body.predecessor.chain_id != body.chain_id:
            self._successors.setdefault((body.predecessor.chain_id, body.public_key), body)

    def on_block(self, number: int, index: int, time_unix_ns: int) -> None:  # noqa: ARG002  (as observers are called)
        """See `Observer.on_block`."""
        if index < self._size:
            self.newest_block_time_unix_ns = time_unix_ns
        for chain in self._open:
            chain.last_on_record_unix_ns = time_unix_ns
        self._open.clear()

    def finish(self, facts: LedgerFacts, report: Report) -> None:  # noqa: ARG002  (as observers are called)
        """See `Observer.finish`."""
        self._registered = facts.producers.keys()
        for chain_id, chain in self._chains.items():
            successor = self._successors.get((chain_id, chain.public_key))
            if successor is not None:
                chain.recovered_by(successor.chain_id, successor.predecessor.next_number)
            producer = facts.producers.get(chain.public_key)
            if producer is not None and 0 < producer.compromised_index < self._size:
                chain.suspect_since_unix_ns = producer.suspect_since_unix_ns
            conflict_index = facts.chains[chain_id].conflict_index if chain_id in facts.chains else 0
            chain.conflict_index = conflict_index if conflict_index < self._size else 0
