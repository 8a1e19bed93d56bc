"""What feeds a server in benchmarks: at the rate that was asked for, without gaps; and what it takes for no answer."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bodies import Bodies, sealed
from benchmarks.driven import Driven
from benchmarks.feed import Feed
from benchmarks.served import Served, served
from lineage_ledger.emitter.sealer import SealedBatch
from lineage_ledger.errors import LineageError, RpcError
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer

BATCH = 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("feed") / "ledger") as running:
        yield running


def batches_of(feed: Feed) -> Iterator[SealedBatch]:
    return sealed(feed.sealer, Bodies(BATCH), bytes(32), [])


def test_a_rate_is_not_exceeded(server: Served) -> None:
    with Feed(server) as feed:
        batches = batches_of(feed)
        feed.begin(batches, entries_per_s=5_000.0)
        time.sleep(0.5)
        sent = feed.end(stop=True)
    assert 0 < sent.entries <= 5_000 * sent.seconds + 2 * BATCH
    assert len(sent.latencies_ms) == sent.entries // BATCH


def test_a_stretch_goes_on_where_the_last_one_was_stopped(server: Served) -> None:
    with Feed(server) as feed:
        batches = batches_of(feed)
        total = 0
        for _ in range(5):
            feed.begin(batches)
            time.sleep(0.02)
            total += feed.end(stop=True).entries
        assert feed.sealer.next_number == total > 0


def test_a_batch_that_was_there_is_no_figure(server: Served) -> None:
    with Feed(server) as feed:
        batch = next(batches_of(feed))
        feed.send([batch])
        with pytest.raises(SystemExit, match="there before"):
            feed.send([batch])


def test_a_gap_is_refused(server: Served) -> None:
    with Feed(server) as feed:
        batches = batches_of(feed)
        next(batches)
        with pytest.raises(RpcError):
            feed.send([next(batches)])


def test_acknowledgements_of_another_ledger_are_none(server: Served) -> None:
    other = str(Signer(server.origin, SigningKey.generate()).verifier)
    with pytest.raises(LineageError), Feed(replace(server, verifier_key=other)):
        pass


def test_a_server_that_dies_ends_it(tmp_path: Path) -> None:
    with served(tmp_path / "ledger") as mortal, Feed(mortal) as feed:
        feed.begin(batches_of(feed), entries_per_s=5_000.0)
        os.kill(mortal.pid, signal.SIGKILL)
        with pytest.raises(RpcError):
            feed.end()


def test_intake_goes_on_after_it_was_stopped(server: Served) -> None:
    """With what was prepared, with what it seals as it goes, and with both in turn."""
    with Driven("benchmarks.intake", server) as intake:
        intake.ask(batch=BATCH)
        for prepare in (3, 0, 5, 0):
            intake.ask(prepare=prepare)
            intake.ask(entries_per_s=0)
            time.sleep(0.1)
            sent = intake.ask(stop=True)
            assert sent["entries"] > prepare * BATCH
            assert sent["left"] == 0


def test_a_stream_that_ended_between_two_stretches_ends_it(tmp_path: Path) -> None:
    with served(tmp_path / "ledger") as mortal, Feed(mortal) as feed:
        batches = batches_of(feed)
        feed.send([next(batches)])
        os.kill(mortal.pid, signal.SIGKILL)
        time.sleep(0.5)
        with pytest.raises(RpcError):
            feed.send([next(batches)])


def test_a_process_that_ended_ends_the_benchmark(server: Served) -> None:
    nowhere = replace(server, address="127.0.0.1:1")
    with Driven("benchmarks.intake", nowhere) as process, pytest.raises(SystemExit, match="ended with status"):
        process.ask(batch=BATCH)
