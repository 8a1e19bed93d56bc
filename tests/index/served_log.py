"""A `SmallLedger` in a real store, with a reader, an indexer and the reading services over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineage_ledger_server.head import Head
from lineage_ledger_server.index.indexer import Indexer
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.store.log_store import LogStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trace.small_ledger import SmallLedger


@dataclass
class ServedLog:
    """The groups of `ledger` that were published, in a store on disk."""

    ledger: SmallLedger
    path: Path

    def __post_init__(self) -> None:
        self.path.mkdir(exist_ok=True)
        self.store = LogStore.open(self.path / "log")
        self.published = 0
        self._head = self._publish()
        self.reader = LogReader(self.store, lambda: self._head)
        self.indexer = Indexer(self.path / "index", self.reader)

    def _publish(self) -> Head:
        for group in self.ledger.groups[self.published :]:
            self.store.append(group)
        self.published = len(self.ledger.groups)
        return Head.of_note(self.ledger.checkpoint())

    def publish(self, *, index: bool = True) -> None:
        """Take over the ledger's new groups, and index them."""
        self._head = self._publish()
        if index:
            self.index()

    def index(self) -> None:
        while self.indexer.step():
            pass

    def close(self) -> None:
        self.indexer.stop()
        self.store.close()
