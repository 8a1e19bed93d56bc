"""A process killed at any moment leaves a log that opens at once, with every commit that it reported."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

from lineage_ledger_server.head import HeadRecord
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.reconcile import Standing, reconcile
from tests.store.log_builder import LogBuilder
from tests.store.test_log_store import assert_stored

SEED = 7
SIZES = [1, 3, 200, 256, 700, 2_000]


def _write(folder: Path, start: int, reports: Connection) -> None:
    """Go on with a log that is a function of its seed, from group `start` on; report each commit."""
    store = LogStore.open(folder / "log")
    record = HeadRecord(folder / "head")
    log = LogBuilder(SEED)
    number = 0
    while True:
        group = log.raw_group(SIZES[number % len(SIZES)])
        number += 1
        if number <= start:
            continue
        store.append(group)
        reports.send(number)
        record.write(log.head())


def test_killed_while_writing(tmp_path: Path) -> None:
    moments = random.Random(SEED)
    context = multiprocessing.get_context("spawn")
    committed = 0
    for _ in range(6):
        receiving, sending = context.Pipe(duplex=False)
        writer = context.Process(target=_write, args=(tmp_path, committed, sending))
        writer.start()
        sending.close()
        assert receiving.poll(30)
        time.sleep(moments.uniform(0.0, 0.15))
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        try:
            while True:
                committed = receiving.recv()
        except EOFError:
            receiving.close()
        store = LogStore.open(tmp_path / "log")
        log = LogBuilder(SEED)
        groups = 0
        while log.size < store.size:
            log.raw_group(SIZES[groups % len(SIZES)])
            groups += 1
        assert groups in (committed, committed + 1)  # killed between the commit and its report
        assert_stored(store, log)
        record = HeadRecord(tmp_path / "head")
        head = record.read()
        standing = reconcile(head, store)
        assert standing is (Standing.CURRENT if head is not None and head.size == store.size else Standing.AHEAD)
        if standing is Standing.AHEAD:
            record.write(log.head())
        committed = groups
        record.close()
        store.close()
