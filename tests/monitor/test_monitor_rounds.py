"""Rounds of a monitor over ledgers that grow, lie, go back, stand still and are away; with a real webhook."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from lineage_ledger.errors import SettingsError
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Cosigner, Note, Signer
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger.monitor.state import Alarm, StateError, StateFolder
from tests.monitor.watched_logs import Ledger, Receiver, monitor_of
from tests.sources import log_files


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "log")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def _sample(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"lineage_monitor_{name}", {"ledger": "prod", **labels})


def test_only_what_is_new_is_checked_across_restarts(ledger: Ledger, state: Path) -> None:
    first = monitor_of(ledger.watched(), state=state)
    assert first.once() == 0
    assert _sample(first.metrics.registry, "entries_checked_total") == ledger.size
    before = ledger.size
    ledger.grow(300)
    assert first.once() == 0
    ledger.grow(300)
    # A restart goes on: even where the older entries are gone, nothing is missed.
    (ledger.root / "tile/entries/000").unlink()
    second = monitor_of(ledger.watched(), state=state)
    assert second.once() == 0
    assert _sample(second.metrics.registry, "entries_checked_total") == 302
    assert _sample(second.metrics.registry, "tree_size_entries") == before + 2 * 302
    assert (state / "prod" / "checkpoint").read_bytes() == ledger.builder.checkpoint()


def test_a_ledger_that_stands_still_is_not_read_again(ledger: Ledger, state: Path) -> None:
    monitor = monitor_of(ledger.watched(), state=state)
    assert monitor.once() == 0
    for path in (ledger.root / "tile").rglob("*"):
        if path.is_file():
            path.unlink()
    assert monitor.once() == 0


def test_two_ledgers_from_one_copy_are_a_fork(ledger: Ledger, state: Path, tmp_path: Path) -> None:
    other = ledger.copy(tmp_path / "other")
    ledger.grow(7)
    other.grow(9)
    with Receiver() as receiver:
        assert monitor_of(ledger.watched(), state=state, receiver=receiver).once() == 0
        log_files.write(ledger.root, other.builder.entries, other.builder.checkpoint())
        monitor = monitor_of(ledger.watched(), state=state, receiver=receiver)
        assert [monitor.once(), monitor.once()] == [1, 1]
        # A restart refuses too, and tells it once.
        assert monitor_of(ledger.watched(), state=state, receiver=receiver).once() == 1
    assert receiver.kinds == ["fork"]
    told = receiver.received[0]
    assert (told["ledger"], told["name"]) == (ledger.builder.origin, "prod")
    assert ledger.builder.checkpoint().decode() in told["evidence"]
    assert other.builder.checkpoint().decode() in told["evidence"]
    folder = Path(told["evidence_folder"])
    assert (folder / "older.txt").read_bytes() == ledger.builder.checkpoint()
    assert (folder / "newer.txt").read_bytes() == other.builder.checkpoint()
    assert _sample(monitor.metrics.registry, "consistency_failures_total") == 1
    assert _sample(monitor.metrics.registry, "failures_total", kind="fork") == 1
    assert _sample(monitor.metrics.registry, "failing", kind="fork") == 1
    assert _sample(monitor.metrics.registry, "reachable") == 1


def test_a_ledger_put_back_from_an_old_copy_is_seen_before_and_after_it_goes_on(
    ledger: Ledger, state: Path, tmp_path: Path
) -> None:
    old = ledger.copy(ledger.root)
    ledger.grow(40)
    with Receiver() as receiver:
        monitor = monitor_of(ledger.watched(), state=state, receiver=receiver)
        assert monitor.once() == 0
        old.publish()
        assert monitor.once() == 1
        old.grow(3)
        assert monitor.once() == 1
        old.grow(90)
        assert monitor.once() == 1
    assert receiver.kinds == ["rollback", "fork"]
    assert (state / "prod" / "checkpoint").read_bytes() == ledger.builder.checkpoint()


def test_a_fork_of_the_same_size_is_seen_by_the_audits_state_where_the_checkpoint_was_lost(
    ledger: Ledger, state: Path, tmp_path: Path
) -> None:
    other = ledger.copy(tmp_path / "other")
    ledger.grow(7)
    other.builder.random.seed(2)
    other.grow(7)
    assert ledger.size == other.size
    assert monitor_of(ledger.watched(), state=state).once() == 0
    (state / "prod" / "checkpoint").unlink()
    log_files.write(ledger.root, other.builder.entries, other.builder.checkpoint())
    monitor = monitor_of(ledger.watched(), state=state)
    assert monitor.once() == 1
    assert _sample(monitor.metrics.registry, "failing", kind="finding") == 1


def test_an_entry_that_was_changed_before_it_was_looked_at_is_found(ledger: Ledger, state: Path) -> None:
    with Receiver() as receiver:
        monitor = monitor_of(ledger.watched(), state=state, receiver=receiver)
        assert monitor.once() == 0
        ledger.grow(20)
        path = ledger.root / f"tile/entries/000.p/{ledger.size}"
        log_files.change(path, path.stat().st_size - 500, b"\xff")
        assert [monitor.once(), monitor.once()] == [1, 1]
        log_files.change(path, path.stat().st_size - 700, b"\xff")
        assert monitor.once() == 1
    # Once each, for these are two.
    assert receiver.kinds == ["finding", "finding"]
    report = json.loads(receiver.received[0]["evidence"])
    assert report["findings"][0]["kind"] in receiver.received[0]["what"]
    assert _sample(monitor.metrics.registry, "findings_total", kind=report["findings"][0]["kind"])
    ledger.publish()
    assert monitor.once() == 0
    assert _sample(monitor.metrics.registry, "failing", kind="finding") == 0


def test_a_seal_that_breaks_a_rule_under_a_right_checkpoint_is_found(ledger: Ledger, state: Path) -> None:
    monitor = monitor_of(ledger.watched(), state=state)
    assert monitor.once() == 0
    ledger.builder.batch(ledger.chain, (), edit=lambda body: setattr(body, "first_number", 99))
    ledger.builder.block()
    ledger.publish()
    assert monitor.once() == 1
    assert _sample(monitor.metrics.registry, "failures_total", kind="finding") == 1


def test_a_stale_view_is_told_once_and_again_when_it_comes_back(ledger: Ledger, state: Path) -> None:
    with Receiver() as receiver:
        watched = ledger.watched(max_block_age_s=600.0)
        monitor = monitor_of(watched, state=state, receiver=receiver)
        assert monitor.once() == 0
        age_s = _sample(monitor.metrics.registry, "checkpoint_age_seconds")
        assert age_s is not None and 0 <= age_s < 60
        hasty = monitor_of(ledger.watched(max_block_age_s=0.000001), state=state, receiver=receiver)
        assert [hasty.once(), hasty.once()] == [1, 1]
        assert monitor_of(watched, state=state, receiver=receiver).once() == 0
        again = monitor_of(ledger.watched(max_block_age_s=0.000001), state=state, receiver=receiver)
        assert again.once() == 1
    assert receiver.kinds == ["stale", "stale"]
    assert "newest block" in receiver.received[0]["what"]


def test_a_ledger_with_an_old_block_is_stale_from_the_first_round(ledger: Ledger, state: Path) -> None:
    ledger.publish(4)  # Its blocks are of the year in which the builder's time begins.
    monitor = monitor_of(ledger.watched(), state=state)
    assert monitor.once() == 1
    assert _sample(monitor.metrics.registry, "failing", kind="stale") == 1
    assert _sample(monitor.metrics.registry, "failing", kind="finding") == 0


def test_another_ledger_at_the_same_place_is_named(ledger: Ledger, state: Path) -> None:
    monitor = monitor_of(ledger.watched(), state=state)
    assert monitor.once() == 0
    note = ledger.builder.checkpoint().replace(b"example.com/ledger/test", b"example.com/ledger/else")
    (ledger.root / "checkpoint").write_bytes(note)
    assert monitor.once() == 1
    assert _sample(monitor.metrics.registry, "failures_total", kind="other_origin") == 1


@pytest.mark.parametrize("content", [b"", b"\xff", b"no note\n", b"x" * 2_000_000])
def test_a_checkpoint_that_is_none_is_a_failure(content: bytes, ledger: Ledger, state: Path) -> None:
    (ledger.root / "checkpoint").write_bytes(content)
    monitor = monitor_of(ledger.watched(), state=state)
    assert monitor.once() != 0


def test_a_forged_checkpoint_is_a_failure_of_the_ledger(ledger: Ledger, state: Path) -> None:
    note = bytearray(ledger.builder.checkpoint())
    note[-20] ^= 1
    (ledger.root / "checkpoint").write_bytes(bytes(note))
    monitor = monitor_of(ledger.watched(), state=state)
    assert monitor.once() == 1
    assert _sample(monitor.metrics.registry, "failing", kind="checkpoint") == 1


def test_a_ledger_that_is_away_is_no_tamper_alarm_and_told_when_it_lasts(
    ledger: Ledger, state: Path, tmp_path: Path
) -> None:
    with Receiver() as receiver:
        patient = monitor_of(ledger.watched(), state=state, receiver=receiver)
        assert patient.once() == 0
        ledger.root.rename(tmp_path / "elsewhere")
        assert patient.once() == 2
        assert receiver.kinds == []
        assert _sample(patient.metrics.registry, "reachable") == 0
        assert _sample(patient.metrics.registry, "failing", kind="unreachable") == 1
        assert _sample(patient.metrics.registry, "consistency_failures_total") == 0
        # A restart does not begin to wait anew.
        hasty = monitor_of(ledger.watched(), state=state, receiver=receiver, patience_s=0.0)
        assert [hasty.once(), hasty.once()] == [2, 2]
        assert receiver.kinds == ["unreachable"]
        (tmp_path / "elsewhere").rename(ledger.root)
        assert hasty.once() == 0
        assert _sample(hasty.metrics.registry, "reachable") == 1


def test_a_webhook_that_fails_is_counted_and_tried_again(
    ledger: Ledger, state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    note = bytearray(ledger.builder.checkpoint())
    note[-20] ^= 1
    (ledger.root / "checkpoint").write_bytes(bytes(note))
    with Receiver(500, 503) as receiver:
        monitor = monitor_of(ledger.watched(), state=state, receiver=receiver, is_stopped=True)
        assert [monitor.once() for _ in range(4)] == [1, 1, 1, 1]
        assert receiver.attempts == 3
        assert receiver.kinds == ["checkpoint"]
    assert _sample(monitor.metrics.registry, "webhook_failures_total") == 2
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["event"] for line in lines].count("webhook failed") == 2
    assert "s3cret" not in str(lines)


def test_a_webhook_is_tried_again_within_a_round(ledger: Ledger, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineage_ledger.monitor.webhook._WAITS_S", (0.01, 0.01))
    (ledger.root / "checkpoint").write_bytes(ledger.builder.checkpoint(4) + b"\n")
    with Receiver(500, 503) as receiver:
        monitor = monitor_of(ledger.watched(), state=state, receiver=receiver)
        assert monitor.once() == 1
        assert receiver.attempts == 3
        assert len(receiver.received) == 1


def test_a_webhook_that_is_not_there_stops_nothing(ledger: Ledger, state: Path) -> None:
    with Receiver() as receiver:
        pass
    (ledger.root / "checkpoint").write_bytes(b"no note\n")
    monitor = monitor_of(ledger.watched(), state=state, receiver=receiver, is_stopped=True)
    assert monitor.once() == 1
    ledger.publish()
    assert monitor.once() == 0
    assert _sample(monitor.metrics.registry, "webhook_failures_total") == 1


def test_one_that_fails_holds_no_other_up(ledger: Ledger, state: Path, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "other", seed=2)
    (other.root / "checkpoint").write_bytes(b"no note\n")
    monitor = monitor_of(ledger.watched(), other.watched("a/../b"), state=state)
    assert monitor.once() == 1
    assert (state / "prod" / "audit-state").exists()
    assert (state / "a%2F..%2Fb" / "alarms.json").exists()


def test_names_are_of_one_ledger_each(ledger: Ledger, state: Path) -> None:
    with pytest.raises(SettingsError, match="name of its own"):
        monitor_of(ledger.watched(), ledger.watched(), state=state)
    with pytest.raises(SettingsError):
        monitor_of(state=state)


def test_a_state_that_is_damaged_is_not_gone_on_from(ledger: Ledger, state: Path) -> None:
    assert monitor_of(ledger.watched(), state=state).once() == 0
    path = state / "prod" / "audit-state"
    good = path.read_bytes()
    for bad in (b"", good[:-1], good.replace(b"size", b"sice"), b"\xff" * 9):
        path.write_bytes(bad)
        monitor = monitor_of(ledger.watched(), state=state)
        assert monitor.once() == 2
        assert _sample(monitor.metrics.registry, "failing", kind="state") == 1
    path.unlink()
    assert monitor_of(ledger.watched(), state=state).once() == 0


def test_two_monitors_of_one_folder_tear_nothing(state: Path) -> None:
    """One that runs, and one by cron."""
    failed: list[Exception] = []

    def write(length: int) -> None:
        folder = StateFolder(state)
        try:
            for _ in range(60):
                folder.write_alarms([Alarm("x" * length, 1)])
                assert len(folder.read_alarms()) == 1
        except (StateError, AssertionError) as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(10_000 * number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_alarms_that_cannot_be_read_are_told_again(ledger: Ledger, state: Path) -> None:
    (ledger.root / "checkpoint").write_bytes(b"no note\n")
    with Receiver() as receiver:
        for content in (None, "[", "[1]", "{}", '[{"key": 1}]', "[" * 100_000):
            if content is not None:
                (state / "prod" / "alarms.json").write_text(content)
            assert monitor_of(ledger.watched(), state=state, receiver=receiver).once() == 1
    assert len(receiver.received) == 6


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="file"):
        StateFolder(tmp_path / "file" / "prod")


def test_a_ledger_that_changes_its_key_is_followed(ledger: Ledger, state: Path) -> None:
    pinned = ledger.watched()
    first = monitor_of(pinned, state=state)
    assert first.once() == 0
    ledger.builder.change_ledger_key(ledger.builder.new_key())
    ledger.grow()
    assert first.once() == 0
    # A restart knows the new key from what the entries before said.
    ledger.grow()
    assert monitor_of(pinned, state=state).once() == 0
    ledger.builder.signer = Signer(ledger.builder.origin, ledger.builder.new_key())
    ledger.grow()
    assert monitor_of(pinned, state=state).once() == 1


@pytest.mark.parametrize("wrong", ["old", "new", "admin"])
def test_a_key_that_nobody_put_in_force_is_not_followed(wrong: str, ledger: Ledger, state: Path) -> None:
    pinned = ledger.watched()
    assert monitor_of(pinned, state=state).once() == 0
    ledger.builder.change_ledger_key(ledger.builder.new_key(), wrong=wrong)
    ledger.grow()
    monitor = monitor_of(pinned, state=state)
    assert monitor.once() == 1
    assert _sample(monitor.metrics.registry, "failing", kind="finding") == 1


def test_a_checkpoint_without_its_witnesses_is_told(ledger: Ledger, state: Path) -> None:
    cosigner = Cosigner("witness.example.com", SigningKey.generate())
    policy = WitnessPolicy.parse(f"witness w {cosigner.verifier}\nquorum w\n".encode())
    watched = dataclasses.replace(ledger.watched(), policy=policy)
    with Receiver() as receiver:
        monitor = monitor_of(watched, state=state, receiver=receiver)
        assert monitor.once() == 1
        assert _sample(monitor.metrics.registry, "witnessed") == 0
        note = Note.parse((ledger.root / "checkpoint").read_bytes())
        cosigned = Note(note.text, (*note.signatures, cosigner.cosign(note.text, 1_800_000_000))).encode()
        (ledger.root / "checkpoint").write_bytes(cosigned)
        assert monitor.once() == 0
        assert _sample(monitor.metrics.registry, "witnessed") == 1
    assert receiver.kinds == ["quorum"]


def test_a_monitor_that_stumbles_goes_on(ledger: Ledger, state: Path) -> None:
    """Whatever a source raises, the next round comes."""

    def stumble() -> Any:
        raise ZeroDivisionError("a fault of ours")

    monitor = monitor_of(dataclasses.replace(ledger.watched(), open_source=stumble), state=state)
    assert [monitor.once(), monitor.once()] == [2, 2]
    assert _sample(monitor.metrics.registry, "failures_total", kind="not_checked") == 1
