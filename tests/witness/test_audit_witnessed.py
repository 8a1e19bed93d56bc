"""`lineage audit` of a witnessed ledger: the policy it must satisfy, and the record of what was cosigned."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lineage_ledger.audit import Report
from lineage_ledger.cli.app import lineage
from lineage_ledger.formats import keys
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Cosigner, Note, Signature, Signer
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger_server.audit.data_dir import audit_data_dir
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.ledger import open_ledger
from lineage_ledger_server.sequencer.check import check_batch
from lineage_ledger_server.sequencer.producers import check_admin_entry
from lineage_ledger_server.sequencer.submissions import Outcome
from lineage_ledger_server.witnessing.settings import WitnessSettings
from tests.support.producer import Producer, registration
from tests.support.server import RunningServer
from tests.witness.running_witness import WitnessHere

ORIGIN = "example.com/log"
SLOT_BYTES = 8192
OTHER = Cosigner("other.example", keys.SigningKey.generate()).verifier


# In a process of its own: one opens the same files only once.
_AUDITS = """
import json, sys
from pathlib import Path
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger_server.audit.data_dir import audit_data_dir
from lineage_ledger_server.data_dir import DataDir

data, verifier, policy = DataDir(Path(sys.argv[1])), Verifier.parse(sys.argv[2]), Path(sys.argv[3]).read_bytes()
for _ in range(25):
    report = audit_data_dir(data, verifier, with_index=False, witness_policy=WitnessPolicy.parse(policy))
    print(json.dumps(report.document()))
"""


class Witnessed:
    """A ledger of which two witnesses cosigned everything, and their policy."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "ledger"
        ledger = open_ledger(DataDir(self.data), origin=ORIGIN)
        self.verifier = ledger.verifier
        ledger.close()
        witnesses = [WitnessHere(folder / f"w{number}", self.verifier, name=f"w{number}.example") for number in (1, 2)]
        lines = [f"log {self.verifier}", *(one.policy_line for one in witnesses)]
        text = "\n".join([*lines, "group both all w1.example w2.example", "quorum both", ""])
        self.policy_file = folder / "policy"
        self.policy_file.write_text(text)
        self.policy = WitnessPolicy.parse(text.encode())
        try:
            self._write()
            self.reports_meanwhile = self._audited_meanwhile()
        finally:
            for witness in witnesses:
                witness.stop()

    def _audited_meanwhile(self) -> list[dict[str, Any]]:
        """Audits beside a ledger that signs a block every few milliseconds, each of which is cosigned."""
        ledger = open_ledger(
            DataDir(self.data), block_interval_s=0.002, witnessing=WitnessSettings(self.policy, required=True)
        )
        try:
            command = [sys.executable, "-c", _AUDITS, str(self.data), str(self.verifier), str(self.policy_file)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
            return [json.loads(line) for line in done.stdout.splitlines()]
        finally:
            assert ledger.witnesses is not None
            ledger.sequencer.stop()
            self.size = ledger.signed_reader.head().size
            assert ledger.witnesses.wait(self.size, 10)
            ledger.close()

    def _write(self) -> None:
        ledger = open_ledger(DataDir(self.data), witnessing=WitnessSettings(self.policy))
        _, admin = keys.read_signing_key(DataDir(self.data).admin_key)
        producer = Producer(ORIGIN)
        entry = registration(ORIGIN, producer.key, admin)
        works: list[Any] = [check_admin_entry(entry, "producer_registered", ORIGIN, frozenset({admin.public_key}))]
        works += [check_batch(producer.batch(), ORIGIN) for _ in range(3)]
        assert ledger.witnesses is not None
        try:
            for work in works:
                future: Future[Outcome] = Future()
                ledger.sequencer.submit(work, future.set_result)
                future.result(10)
                self.size = ledger.published_size
                assert ledger.witnesses.wait(self.size, 10)
        finally:
            ledger.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Witnessed:
    return Witnessed(tmp_path_factory.mktemp("witnessed"))


@pytest.fixture
def copy(made: Witnessed, tmp_path: Path) -> DataDir:
    shutil.copytree(made.data, tmp_path / "ledger")
    return DataDir(tmp_path / "ledger")


def audited(data_dir: DataDir, made: Witnessed, policy: WitnessPolicy | None = None) -> Report:
    report = audit_data_dir(data_dir, made.verifier, with_index=False, witness_policy=policy)
    assert report.failures == []
    return report


def found(report: Report) -> set[tuple[str, str]]:
    return {(finding.kind, finding.place) for finding in report.findings}


def newest_slot(record: bytes) -> int:
    """Its number."""
    sequences = [int.from_bytes(record[at : at + 8], "big") for at in (0, SLOT_BYTES)]
    return sequences.index(max(sequences))


def test_a_right_one_passes(made: Witnessed) -> None:
    assert audited(DataDir(made.data), made).exit_status == 0
    report = audited(DataDir(made.data), made, made.policy)
    assert (report.exit_status, report.witnessed) == (0, made.size)


def test_one_that_is_being_written_passes(made: Witnessed) -> None:
    reports = made.reports_meanwhile
    assert [(report["findings"], report["failures"]) for report in reports] == [([], [])] * 25
    sizes = [report["witnessed"] for report in reports]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 3
    assert all(report["witnessed"] <= report["size"] for report in reports)


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("at", [0, 7, 11, 12, 100, 400, 700, 800, SLOT_BYTES - 1])
def test_a_flipped_bit_is_named(copy: DataDir, made: Witnessed, slot: int, at: int) -> None:
    content = bytearray(copy.cosigned.read_bytes())
    content[slot * SLOT_BYTES + at] ^= 4
    copy.cosigned.write_bytes(content)
    assert ("cosigned_record", f"cosigned record slot {slot}") in found(audited(copy, made))


def test_one_that_was_taken_away_is_named(copy: DataDir, made: Witnessed) -> None:
    copy.cosigned.unlink()
    assert found(audited(copy, made)) == {("cosigned_record", "cosigned record")}
    copy.publication.unlink()
    assert audited(copy, made).exit_status == 0, "one that no witness was ever asked for has neither"
    assert found(audited(copy, made, made.policy)) == {("quorum", f"head record slot {newest(copy)}")}


def newest(copy: DataDir) -> int:
    return newest_slot(copy.head.read_bytes())


@pytest.mark.parametrize("content", [b"", b"witnesses are asked", b"witnesses are asked\nsince x\n", b"\xff" * 70])
def test_a_rule_that_is_none_is_named(copy: DataDir, made: Witnessed, content: bytes) -> None:
    copy.publication.write_bytes(content)
    assert found(audited(copy, made)) == {("publication", "publication")}


def test_what_was_cosigned_beyond_what_is_signed(copy: DataDir, made: Witnessed) -> None:
    """The head record was put back: it is older than what witnesses cosigned."""
    slot = newest_slot(copy.head.read_bytes())
    content = bytearray(copy.head.read_bytes())
    content[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES] = bytes(SLOT_BYTES)
    copy.head.write_bytes(content)
    assert ("checkpoint", f"head record slot {1 - slot}") in found(audited(copy, made))


def replaced(data_dir: DataDir, note: bytes) -> str:
    """Put on record as a server would; returns the place."""
    data_dir.cosigned.unlink()
    record = HeadRecord(data_dir.cosigned)
    record.write(Head.of_note(note))
    record.close()
    return f"cosigned record slot {newest_slot(data_dir.cosigned.read_bytes())}"


def cosigned_note(data_dir: DataDir) -> Note:
    record = HeadRecord(data_dir.cosigned, read_only=True)
    try:
        return Note.parse(record.read_published().note)
    finally:
        record.close()


def changed(line: Signature) -> Signature:
    return line._replace(payload=line.payload[:-1] + bytes([line.payload[-1] ^ 1]))


def test_another_root_that_was_cosigned_is_named(copy: DataDir, made: Witnessed) -> None:
    """Signed with the ledger's own key: witnesses saw another history than the one that is here."""
    said = Checkpoint.parse(cosigned_note(copy).text)
    forged = Checkpoint(ORIGIN, said.size, bytes(32)).sign(Signer(*keys.read_signing_key(copy.ledger_key)))
    place = replaced(copy, forged)
    assert found(audited(copy, made)) == {("root", place)}


def test_a_signature_of_the_ledger_s_that_is_none(copy: DataDir, made: Witnessed) -> None:
    note = cosigned_note(copy)
    first = note.signatures[0]
    broken = changed(first)
    place = replaced(copy, Note(note.text, (broken, *note.signatures[1:])).encode())
    assert found(audited(copy, made)) == {("checkpoint_signature", place)}


def test_a_cosignature_that_is_none(copy: DataDir, made: Witnessed) -> None:
    note = cosigned_note(copy)
    last = note.signatures[-1]
    broken = changed(last)
    place = replaced(copy, Note(note.text, (*note.signatures[:-1], broken)).encode())
    assert found(audited(copy, made)) == set(), "without a policy nobody knows the witnesses' keys"
    assert ("cosignature", place) in found(audited(copy, made, made.policy))


def test_cosignatures_that_are_too_few(copy: DataDir, made: Witnessed) -> None:
    note = cosigned_note(copy)
    replaced(copy, Note(note.text, note.signatures[:2]).encode())
    report = audited(copy, made, made.policy)
    assert {kind for kind, _ in found(report)} == {"quorum"}
    assert "w1.example cosigned it" in report.findings[0].found or "2 of" in report.findings[0].found
    assert report.witnessed is None


@pytest.mark.parametrize("form", ["data", "folder", "url", "server"])
def test_the_command(copy: DataDir, made: Witnessed, tmp_path: Path, form: str) -> None:
    with ExitStack() as life:
        place = str(copy.root)
        if form == "folder":
            place = str(tmp_path / "public")
            assert CliRunner().invoke(lineage, ["export", place, "--data", str(copy.root)]).exit_code == 0
        elif form != "data":
            options = ["--witness-policy", str(made.policy_file), "--http", "127.0.0.1:0"]
            server = life.enter_context(RunningServer(copy.root, *options))
            place = server.http_url if form == "url" else server.address
        other = tmp_path / "other.policy"
        other.write_text(f"witness w {OTHER}\nquorum w\n")
        for policy, witnessed, kinds in ((made.policy_file, made.size, []), (other, None, ["quorum"])):
            options = ["--key", str(made.verifier), "--json", "--witness-policy", str(policy)]
            done = CliRunner(env={"LINEAGE_CONFIG": None}).invoke(lineage, ["audit", f"--{form}", place, *options])
            document = json.loads(done.stdout)
            assert document["failures"] == []
            assert (document["witnessed"], [finding["kind"] for finding in document["findings"]]) == (witnessed, kinds)
            assert done.exit_code == len(kinds)
