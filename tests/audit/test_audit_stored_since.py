"""A real ledger on disk that grew since it was audited: by state, by checkpoint, by several processes."""

from __future__ import annotations

import random
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from lineage_ledger.audit import AuditState, Report
from lineage_ledger.formats import keys
from lineage_ledger_server.audit.data_dir import audit_data_dir
from lineage_ledger_server.ledger import open_ledger
from lineage_ledger_server.sequencer.check import check_batch
from lineage_ledger_server.sequencer.producers import check_admin_entry
from lineage_ledger_server.sequencer.submissions import Outcome
from tests.audit import stored_ledger
from tests.audit.stored_ledger import StoredLedger, Value
from tests.support.producer import Producer, registration


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[StoredLedger, AuditState]:
    """A ledger, and the state of its audit before it grew."""
    stored = stored_ledger.make(tmp_path_factory.mktemp("since") / "ledger")
    report = audit_data_dir(stored.data_dir, stored.verifier)
    assert report.state is not None, report.findings
    state = AuditState.parse(report.state.encode(), stored.verifier)
    grow(stored)
    return stored, state


def grow(stored: StoredLedger) -> None:
    """About 1,000 entries more, by one more producer."""
    opened = open_ledger(stored.data_dir)
    _, admin = keys.read_signing_key(stored.data_dir.admin_key)

    def submit(work: object) -> Outcome:
        future: Future[Outcome] = Future()
        opened.sequencer.submit(work, future.set_result)  # type: ignore[arg-type]  # any kind of work
        return future.result(10)

    producer = Producer(opened.origin)
    entry = registration(opened.origin, producer.key, admin)
    submit(check_admin_entry(entry, "producer_registered", opened.origin, opened.admin_public_keys))
    for count in (0, 300, 1, 7, 700):
        submit(check_batch(producer.predictions(count), opened.origin))
    opened.close()


def compared(report: Report) -> object:
    return report.findings, report.failures, report.counts, report.size, report.state


def test_the_rest_is_audited_as_a_part_of_the_whole(ledger: tuple[StoredLedger, AuditState]) -> None:
    stored, state = ledger
    whole = audit_data_dir(stored.data_dir, stored.verifier, with_index=False)
    report = audit_data_dir(stored.data_dir, stored.verifier, since=state)
    assert compared(report) == compared(whole)
    assert whole.exit_status == 0
    assert report.entries_read == whole.size - state.size > 1_000
    assert report.not_checked == ["derived indexes: left out"]
    report = audit_data_dir(stored.data_dir, stored.verifier, since=state.note, with_index=False)
    assert compared(report) == compared(whole)


def test_processes_that_share_a_folder_find_the_same(
    ledger: tuple[StoredLedger, AuditState], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, _ = ledger
    monkeypatch.setattr(sys.modules["lineage_ledger.audit.audit"], "_RUN_BUNDLES", 2)
    report = audit_data_dir(stored.data_dir, stored.verifier, with_index=False, processes=2)
    assert report.processes == 2
    assert compared(report) == compared(audit_data_dir(stored.data_dir, stored.verifier, with_index=False))


def newer(stored: StoredLedger, state: AuditState) -> list[Value]:
    """Values that hold nothing but what came after the state, of which the audit must find any change."""
    found = []
    for value in stored_ledger.values(stored):
        index = int.from_bytes(value.key, "big")
        is_newer = {
            "log/bundles": index > state.size // 256,
            "log/tail": True,
            "log/batches": index >= state.size,
            "log/blocks": index > state.rules.block.number,
            "log/chains": True,
            "log/chain_ids": True,
            "log/producers": True,
            "head/slot": True,
        }
        found += [value] if is_newer.get(value.kind) else []
    return found


@pytest.mark.parametrize("seed", range(40))
def test_what_is_newer_is_named_when_it_changes(ledger: tuple[StoredLedger, AuditState], seed: int) -> None:
    stored, state = ledger
    choice = random.Random(seed)
    values = newer(stored, state)
    kind = choice.choice(sorted({value.kind for value in values}))
    value = choice.choice([value for value in values if value.kind == kind])
    bit = value.bit_of("any", choice)
    stored_ledger.write(stored, value, stored_ledger.flipped(value.content, bit))
    try:
        report = audit_data_dir(stored.data_dir, stored.verifier, since=state)
    finally:
        stored_ledger.write(stored, value, value.content)
    assert {finding.place for finding in report.findings} == {value.place(bit)}, value


def test_rows_that_are_too_many_or_too_few_are_named(ledger: tuple[StoredLedger, AuditState]) -> None:
    stored, state = ledger
    values = stored_ledger.values(stored)
    for table in ("batches", "blocks", "directory"):
        last = [value for value in values if value.kind == f"log/{table}"][-1]
        stored_ledger.remove(stored, last)
        missing = audit_data_dir(stored.data_dir, stored.verifier, since=state)
        stored_ledger.write(stored, last, last.content)
        key = (int.from_bytes(last.key, "big") + 1).to_bytes(len(last.key), "big")
        extra = replace(last, key=key)
        stored_ledger.write(stored, extra, extra.content)
        added = audit_data_dir(stored.data_dir, stored.verifier, since=state)
        stored_ledger.remove(stored, extra)
        assert [finding.place for finding in missing.findings] == [last.place(0)]
        assert [finding.place for finding in added.findings] == [extra.place(0)]


def test_a_copy_from_before_the_state_went_back(ledger: tuple[StoredLedger, AuditState], tmp_path: Path) -> None:
    old = stored_ledger.make(tmp_path / "old", batches=12)
    report = audit_data_dir(old.data_dir, old.verifier)
    grown = old.copy(tmp_path / "grown")
    grow(grown)
    state = audit_data_dir(grown.data_dir, grown.verifier).state
    assert report.exit_status == 0
    assert state is not None
    report = audit_data_dir(old.data_dir, old.verifier, since=state)
    assert {finding.kind for finding in report.findings} == {"truncated"}
    assert report.exit_status == 1
