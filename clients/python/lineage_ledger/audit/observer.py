"""Who looks on while an audit goes by."""

from __future__ import annotations

from lineage_ledger.audit.facts import BatchFacts, LedgerFacts
from lineage_ledger.audit.report import Report
from lineage_ledger.audit.state import AuditState
from lineage_ledger.v1 import entry_pb2


class Observer:
    """Looks on while the entries go by; what a class that derives from this leaves out does nothing."""

    def start(self, size: int) -> None:
        """Called before anything else, with the size of the checkpoint's tree; entries behind it are looked at, too."""

    def begin(self, since: AuditState) -> None:
        """Called next by an audit that does not read the entries below `since.size`."""

    def on_batch(self, batch: BatchFacts) -> None:
        """A seal that was read, in order of index."""

    def on_deployment(self, leaf_hash: bytes, deployment: entry_pb2.Deployment) -> None:
        """A deployment that was read, in order of index, with the leaf hash of its entry."""

    def on_block(self, number: int, index: int, time_unix_ns: int) -> None:
        """A block that was read, in order of index."""

    def finish(self, facts: LedgerFacts, report: Report) -> None:
        """All entries went by: report what does not agree with them."""


class Observers(Observer):
    """Several that look on, each in turn."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def start(self, size: int) -> None:
        for each in self._observers:
            each.start(size)

    def begin(self, since: AuditState) -> None:
        for each in self._observers:
            each.begin(since)

    def on_batch(self, batch: BatchFacts) -> None:
        for each in self._observers:
            each.on_batch(batch)

    def on_deployment(self, leaf_hash: bytes, deployment: entry_pb2.Deployment) -> None:
        for each in self._observers:
            each.on_deployment(leaf_hash, deployment)

    def on_block(self, number: int, index: int, time_unix_ns: int) -> None:
        for each in self._observers:
            each.on_block(number, index, time_unix_ns)

    def finish(self, facts: LedgerFacts, report: Report) -> None:
        for each in self._observers:
            each.finish(facts, report)
