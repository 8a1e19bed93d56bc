"""`lineage audit --data`: as people and scripts see it, and beside a server that goes on writing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lineage_ledger.cli.audit import audit
from lineage_ledger.formats import keys
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.ledger import open_ledger
from lineage_ledger_server.sequencer.check import check_batch
from lineage_ledger_server.sequencer.producers import check_admin_entry
from lineage_ledger_server.sequencer.submissions import Outcome
from tests.audit import stored_ledger
from tests.audit.stored_ledger import ORIGIN, StoredLedger
from tests.cli.recorded_ledger import run_on_terminal
from tests.support.producer import Producer, a_prediction, registration


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> StoredLedger:
    return stored_ledger.make(tmp_path_factory.mktemp("command") / "ledger", batches=10)


def invoke(ledger: StoredLedger, *options: str) -> Result:
    arguments = ["--data", str(ledger.data_dir.root), "--key", str(ledger.verifier), *options]
    return CliRunner().invoke(audit, arguments)


def test_a_right_ledger(ledger: StoredLedger) -> None:
    result = invoke(ledger)
    assert result.exit_code == 0
    assert "truncation: cannot be checked" in result.output
    assert result.output.splitlines()[-1] == "All entries, hashes, links and signatures check."


def test_json(ledger: StoredLedger, tmp_path: Path) -> None:
    slot = ledger.data_dir.head.read_bytes()[:8192]
    kept = tmp_path / "checkpoint"
    kept.write_bytes(slot[12 : 12 + int.from_bytes(slot[8:12], "big")])
    result = invoke(ledger, "--json", "--checkpoint", str(kept))
    value = json.loads(result.output)
    assert result.exit_code == value["exit_status"] == 0
    assert value["findings"] == value["not_checked"] == value["failures"] == []
    assert value["counts"]["entries"] == value["size"]


def test_a_changed_byte(ledger: StoredLedger, tmp_path: Path) -> None:
    copy = ledger.copy(tmp_path / "copy")
    value = next(value for value in stored_ledger.values(copy) if value.kind == "log/bundles")
    stored_ledger.write(copy, value, stored_ledger.flipped(value.content, 8 * 15_000))
    result = invoke(copy)
    assert result.exit_code == 1
    assert f"finding: {value.place(8 * 15_000)}: entry_changed: " in result.output
    assert result.output.splitlines()[-1] == "Findings: 1. This ledger is not as it was written."


@pytest.mark.parametrize("vkey", ["nonsense", "example.com/x+00000000+AAAA"])
def test_a_key_that_is_none_is_no_pass(ledger: StoredLedger, vkey: str) -> None:
    result = CliRunner().invoke(audit, ["--data", str(ledger.data_dir.root), "--key", vkey])
    assert result.exit_code == 2
    assert "this is not a pass" in result.output


def test_of_an_audit_that_did_not_begin_there_are_no_figures(ledger: StoredLedger) -> None:
    result = CliRunner().invoke(audit, ["--data", str(ledger.data_dir.root), "--key", "nonsense"])
    assert "predictions" not in result.output
    assert result.output.startswith("failed: ")


@pytest.mark.parametrize("option", ["--checkpoint", "--since"])
def test_a_file_that_holds_no_checkpoint_is_named_before_the_work(
    ledger: StoredLedger, tmp_path: Path, option: str
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(f"{ledger.verifier}\n")
    result = invoke(ledger, option, str(path), "--json")
    value = json.loads(result.output)
    assert result.exit_code == value["exit_status"] == 2
    assert f"{path} holds no checkpoint" in value["failures"][0]
    assert value["entries_read"] == 0


@pytest.mark.parametrize("given", [[], ["--url", "http://127.0.0.1:1", "--folder", "."]])
def test_one_source_is_asked_for_by_name(given: list[str]) -> None:
    result = CliRunner(env={"LINEAGE_DATA": "", "LINEAGE_SERVER": ""}).invoke(audit, [*given, "--key", "x"])
    assert result.exit_code == 2
    assert "give one of --data, --folder, --url and --server" in result.output
    assert ("not --folder and --url" in result.output) is bool(given)


def test_the_key_may_be_a_file(ledger: StoredLedger, tmp_path: Path) -> None:
    file = tmp_path / "ledger.vkey"
    file.write_text(f"{ledger.verifier}\n")
    data = ("--data", str(ledger.data_dir.root))
    assert CliRunner().invoke(audit, [*data, "--key", str(file)]).exit_code == 0
    assert CliRunner(env={"LINEAGE_VERIFIER_KEY": str(file)}).invoke(audit, data).exit_code == 0
    missing = CliRunner().invoke(audit, [*data, "--key", str(tmp_path / "missing"), "--json"])
    assert missing.exit_code == 2
    assert "nor a file that is there" in json.loads(missing.output)["failures"][0]


def test_on_a_terminal_there_are_bars(ledger: StoredLedger) -> None:
    arguments = ("audit", "--data", ledger.data_dir.root, "--key", ledger.verifier)
    status, text = run_on_terminal(*arguments, columns=120)
    assert status == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert re.search(r"log +[━╸╺]+ +[0-9]+/[0-9]+ ", plain)
    assert "\x1b[1;32mAll entries, hashes, links and signatures check.\x1b[0m" in text


def test_the_key_of_another_ledger_is_a_finding(ledger: StoredLedger, tmp_path: Path) -> None:
    other = stored_ledger.make(tmp_path / "other", batches=1)
    result = CliRunner().invoke(audit, ["--data", str(ledger.data_dir.root), "--key", str(other.verifier)])
    assert result.exit_code == 1
    assert "ledger_key" in result.output
    assert "was it the key of another ledger?" in result.output


def test_a_ledger_that_is_being_written_passes(tmp_path: Path) -> None:
    """The audit runs in processes of their own, again and again, while this one appends."""
    data_dir = DataDir(tmp_path / "ledger")
    ledger = open_ledger(data_dir, origin=ORIGIN)
    _, admin = keys.read_signing_key(data_dir.admin_key)

    def submit(work: object) -> None:
        future: Future[Outcome] = Future()
        ledger.sequencer.submit(work, future.set_result)  # type: ignore[arg-type]  # any kind of work
        future.result(10)

    producer = Producer(ORIGIN)
    entry = registration(ORIGIN, producer.key, admin)
    submit(check_admin_entry(entry, "producer_registered", ORIGIN, frozenset({admin.public_key})))
    submit(check_batch(producer.batch(), ORIGIN))
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            submit(check_batch(producer.batch([a_prediction(number + each) for each in range(37)]), ORIGIN))
            number += 37

    writer = threading.Thread(target=write)
    writer.start()
    try:
        reports = [
            json.loads(
                subprocess.run(
                    [
                        *(sys.executable, "-m", "lineage_ledger.cli", "audit"),
                        *("--data", str(data_dir.root), "--key", str(ledger.verifier), "--json"),
                    ],
                    capture_output=True,
                    check=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                ).stdout
            )
            for _ in range(4)
        ]
    finally:
        stop.set()
        writer.join()
        ledger.close()
    assert [report["findings"] for report in reports] == [[]] * 4
    sizes = [report["size"] for report in reports]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
