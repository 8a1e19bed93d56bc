"""Storage that decays, loses things, or is written to by somebody without any key."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage_ledger.errors import RpcError
from lineage_ledger.formats import packed
from lineage_ledger.sources.folder import open_folder
from lineage_ledger_server.data_dir import DataDir
from tests.attacks.auditing import audited_data, audited_folder
from tests.attacks.catching import (
    answered_by_the_server,
    attack,
    found_by_the_audit,
    refused_by_the_server,
    start_refused,
)
from tests.attacks.honest import HonestLedger
from tests.attacks.operator import Operator
from tests.audit import stored_ledger
from tests.audit.stored_ledger import StoredLedger
from tests.sources import log_files
from tests.support.server import RunningServer


@attack(caught_by=("server", "audit"))
def test_a_flipped_bit_in_each_table(honest: HonestLedger, tmp_path: Path) -> None:
    """One bit of one value of each kind, in turn; a running server answers right or not at all."""
    fresh = Operator(honest.data)
    fresh.log()  # So that the server has no reason to write while it is looked at.
    data = fresh.write(tmp_path / "ledger")
    ledger = StoredLedger(DataDir(data), honest.verifier)
    values = {value.kind: value for value in stored_ledger.values(ledger)}
    assert len(values) >= 13
    with RunningServer(data) as server, honest.client(server.address) as client:
        wanted = client.get_prediction(honest.prediction)
        for kind, value in values.items():
            bit = 8 * (len(value.content) // 2) + 3
            stored_ledger.write(ledger, value, stored_ledger.flipped(value.content, bit))
            report = audited_data(data, honest.verifier)
            assert {finding.place for finding in report.findings} == {value.place(bit)}, kind
            found_by_the_audit(report, *{finding.kind for finding in report.findings})
            try:
                answered_by_the_server(client.get_prediction(honest.prediction) == wanted)
            except RpcError as error:
                assert error.reason == "CORRUPT", error  # or it is right, and nothing else
            stored_ledger.write(ledger, value, value.content)
        bundle = values["log/bundles"]
        offset, length = list(packed.spans(bundle.content[stored_ledger.HASHES_BYTES :]))[wanted.index]
        bit = 8 * (stored_ledger.HASHES_BYTES + offset + length - 1)
        stored_ledger.write(ledger, bundle, stored_ledger.flipped(bundle.content, bit))
        with refused_by_the_server("CORRUPT"):
            client.get_prediction(honest.prediction)
        stored_ledger.write(ledger, bundle, bundle.content)
        assert client.get_prediction(honest.prediction) == wanted, "what is put back is answered"


@attack(caught_by=("start",))
def test_a_lost_head_record(honest: HonestLedger, tmp_path: Path) -> None:
    """Without it nobody could tell that the log was cut, so nothing is signed."""
    data = honest.copy(tmp_path / "ledger")
    (data / "head").unlink()
    with pytest.raises(RuntimeError) as refused:
        RunningServer(data)
    start_refused(str(refused.value), "no head record: it was lost")


@attack(caught_by=("audit",))
def test_an_exported_folder_with_a_changed_file(honest: HonestLedger, tmp_path: Path) -> None:
    """Each file of the exported log in turn: a changed byte, a missing file, another log's file."""
    operator = Operator(honest.data)
    folder = operator.export(tmp_path / "public")
    assert audited_folder(folder, honest.verifier).exit_status == 0
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "checkpoint")
    assert len(files) >= 5
    for path in files:
        honest_bytes = path.read_bytes()
        log_files.change(path, len(honest_bytes) // 2, bytes([honest_bytes[len(honest_bytes) // 2] ^ 4]))
        report = audited_folder(folder, honest.verifier)
        found_by_the_audit(report, *{finding.kind for finding in report.findings})
        path.unlink()
        assert audited_folder(folder, honest.verifier).exit_status != 0
        path.write_bytes(honest_bytes)
    open_folder(folder).close()


@attack(caught_by=("audit",))
def test_an_exported_folder_of_links(honest: HonestLedger, tmp_path: Path) -> None:
    """A link in an exported folder that leads out of it, to what whoever audits may read and must not show."""
    operator = Operator(honest.data)
    folder = operator.export(tmp_path / "public")
    secret = tmp_path / "secret"
    bundle = folder / "tile/entries/000"
    secret.write_bytes(bundle.read_bytes()[:-1] + b"x")
    bundle.unlink()
    bundle.symlink_to(secret)
    report = audited_folder(folder, honest.verifier)
    assert report.exit_status != 0
    assert "secret" not in str(report.document())
    found_by_the_audit(report, *{finding.kind for finding in report.findings})
