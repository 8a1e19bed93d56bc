"""A real ledger in a folder of the test, driven without gRPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from lineage_ledger.formats import keys
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.ledger import Ledger, open_ledger
from lineage_ledger_server.sequencer.check import check_batch
from lineage_ledger_server.sequencer.producers import check_admin_entry
from lineage_ledger_server.sequencer.submissions import Appended, Changed, Outcome
from tests.support.producer import Producer, registration


@dataclass
class Driver:
    """Submits one thing at a time and waits for its outcome."""

    data_dir: DataDir
    ledger: Ledger
    admin_key: keys.SigningKey

    def append(self, packed: bytes) -> Appended:
        outcome = self._outcome(check_batch(packed, self.ledger.origin))
        assert isinstance(outcome, Appended)
        return outcome

    def change(self, entry: bytes, kind: str) -> Changed:
        outcome = self._outcome(check_admin_entry(entry, kind, self.ledger.origin, self.ledger.admin_public_keys))
        assert isinstance(outcome, Changed)
        return outcome

    def producer(self) -> Producer:
        """A registered one, whose chain is not opened yet."""
        producer = Producer(self.ledger.origin)
        self.change(registration(self.ledger.origin, producer.key, self.admin_key), "producer_registered")
        return producer

    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = open_ledger(self.data_dir)

    def _outcome(self, work: object) -> Outcome:
        future: Future[Outcome] = Future()
        self.ledger.sequencer.submit(work, future.set_result)  # type: ignore[arg-type]  # any kind of work
        outcome = future.result(10)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    data_dir = DataDir(tmp_path / "ledger")
    ledger = open_ledger(data_dir, origin="example.com/ledger/test")
    _, admin_key = keys.read_signing_key(data_dir.admin_key)
    driver = Driver(data_dir, ledger, admin_key)
    yield driver
    driver.ledger.close()


@pytest.fixture
def refused() -> Callable[[str], pytest.RaisesExc[Exception]]:
    """`with refused("REASON"):` as callers are told it."""
    from lineage_ledger_server.services.errors import answer_to

    def check(reason: str) -> pytest.RaisesExc[Exception]:
        def has_reason(error: Exception) -> bool:
            answer = answer_to(error)
            return answer is not None and answer.reason == reason

        return pytest.RaisesExc(Exception, check=has_reason)

    return check
