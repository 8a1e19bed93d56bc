"""A real ledger whose key is changed, and everybody who looks at it."""

from __future__ import annotations

import shlex
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lineage_ledger.cli.app import lineage
from lineage_ledger.client import Client
from lineage_ledger.emitter import Emitter, Policy
from lineage_ledger.errors import OtherKeyError, RpcError, SignatureError, VerificationError
from lineage_ledger.formats import admin, keys
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.ledger_keys import LedgerKeys, UnknownPinError
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger.formats.receipt import Receipt
from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.receipts import verify_receipt
from lineage_ledger.web import HttpClient
from lineage_ledger_server.data_dir import DataDir
from tests.keys.rotating import rotate, run
from tests.second_verifier import notes as second_notes
from tests.second_verifier.receipt import verify_lineage
from tests.second_verifier.verifier import audit as second_audit
from tests.support.rpc import registered
from tests.support.server import RunningServer

ORIGIN = "example.com/ledger/rotation"


@pytest.fixture
def server(tmp_path):
    with RunningServer(tmp_path / "l", "--origin", ORIGIN) as running:
        yield running


@pytest.fixture
def key_file(server, tmp_path):
    path = tmp_path / "producer.key"
    keys.write_signing_key(path, "model-server", registered(server).key)
    return path


def _emit(emitter: Emitter, count: int = 3) -> list[str]:
    binding = emitter.bind(bytes(range(32)))
    found = [str(binding.emit(bytes([number]) * 32, bytes(32), duration_us=1)) for number in range(count)]
    emitter.flush(20)
    return found


def test_twice_on_a_running_ledger_and_everybody_follows(server, key_file, tmp_path):
    first = server.verifier_key
    emitter = Emitter(server.address, ledger=first, key=key_file, policy=Policy(linger_ms=2))
    reader = RunningServer(server.data, "--reader", log_file=tmp_path / "reader.log")
    with emitter, reader, Client(server.address, ledger=first) as old_client:
        before = _emit(emitter)
        old_receipt, old_proof = old_client.receipt(before[0]), old_client.receipt(1)
        kept, first_note = old_client.signed_checkpoint()
        said = [rotate(server.data), rotate(server.data)]
        assert said[0]["replaced"] == first and said[1]["replaced"] == said[0]["verifier_key"]
        newest = said[1]["verifier_key"]

        after = _emit(emitter)
        assert emitter.statistics.lost == 0 and emitter.statistics.pending == 0
        checkpoint_file = tmp_path / "kept.checkpoint"
        checkpoint_file.write_bytes(first_note)
        going_on = ["checkpoint", "--server", server.address, "--verifier-key", first, "-o", checkpoint_file]
        assert run(*going_on)["continues_tree_size"] == kept.size
        assert run(*going_on)["continues_tree_size"] > kept.size  # by another key than the pinned one now
        for prediction_id in (*before, *after):
            assert str(old_client.get_prediction(prediction_id).prediction_id) == prediction_id
        assert old_client.checkpoint().size > kept.size
        old_client.consistency_proof(kept)

        # The line that says how to verify a proof names the key that signed it, whichever was pinned.
        proof = tmp_path / "entry.tlog-proof"
        asked = ["receipt", "1", "--server", server.address, "--verifier-key", first, "-o", str(proof)]
        said_line = CliRunner().invoke(lineage, asked).stdout.splitlines()[-1]
        verified = CliRunner().invoke(lineage, shlex.split(said_line)[1:])
        assert verified.exit_code == 0, verified.stderr

        pins = (first, said[0]["verifier_key"], newest)
        for address in (server.address, reader.address):
            for pin in pins:
                with Client(address, ledger=pin) as client:
                    receipt = client.receipt(before[0])
                    for other in pins:
                        assert str(verify_receipt(receipt, Verifier.parse(other)).prediction_id) == before[0]
                    assert client.receipt(after[0])
                    assert client.receipt(2)
                    client.consistency_proof(kept)

    assert verify_receipt(old_receipt, Verifier.parse(first)).checkpoint.size <= kept.size
    with pytest.raises(UnknownPinError, match="from before the pinned key was put in force"):
        verify_receipt(old_receipt, Verifier.parse(newest))
    with pytest.raises(OtherKeyError, match="the ledger's key was changed"):
        TlogProof.parse(old_proof).verify(b"", Verifier.parse(newest))


def test_a_restarted_ledger_signs_with_the_key_in_force(server, tmp_path):
    said = rotate(server.data)
    assert server.stop() == 0
    files = DataDir(server.data)
    assert files.verifier_key.read_text() == said["verifier_key"] + "\n"
    name, key = keys.read_signing_key(files.ledger_key)
    assert str(Verifier(name, key.public_key)) == said["verifier_key"]
    retired = files.ledger_key.with_name(f"ledger-{Verifier.parse(said['replaced']).key_id.hex()}.retired")
    assert stat.S_IMODE(retired.stat().st_mode) == 0o600
    assert not files.new_ledger_key.exists()
    retired.unlink()  # of no use to the ledger
    with RunningServer(server.data) as again:
        assert again.verifier_key == said["verifier_key"]
        registered(again)
        with Client(again.address, ledger=said["replaced"]) as client:
            assert client.checkpoint().size > said["index"]


def test_an_audit_across_two_changes_is_clean(server, key_file):
    pins = [server.verifier_key]
    with Emitter(server.address, ledger=server.verifier_key, key=key_file, policy=Policy(linger_ms=2)) as emitter:
        _emit(emitter)
        kept = server.data.with_name("kept.checkpoint")
        run("checkpoint", "--data", server.data, "-o", kept)
        for _ in range(2):
            pins.append(rotate(server.data)["verifier_key"])
            _emit(emitter)
    for pin in pins:
        report = run("audit", "--data", server.data, "--key", pin, "--checkpoint", kept)
        assert report["findings"] == [] and report["exit_status"] == 0
    stranger = Verifier(ORIGIN, keys.SigningKey.generate().public_key)
    assert run("audit", "--data", server.data, "--key", str(stranger), status=1)["findings"][0]["kind"] == "ledger_key"


def test_what_an_attempt_left_is_used_by_the_next(server):
    files = DataDir(server.data)
    key = keys.SigningKey.generate()
    keys.write_signing_key(files.new_ledger_key, ORIGIN, key)
    assert rotate(server.data)["verifier_key"] == str(Verifier(ORIGIN, key.public_key))


def test_where_no_ledger_is_served_no_key_is_made(tmp_path):
    (tmp_path / "keys").mkdir()
    result = CliRunner().invoke(lineage, ["ledger-key", "rotate", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert f"no ledger is being served from {tmp_path}" in result.stderr
    assert list((tmp_path / "keys").iterdir()) == []


def test_signed_on_another_machine(server, tmp_path):
    files, elsewhere = DataDir(server.data), tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (files.ledger_key, files.admin_key):
        (elsewhere / path.name).write_bytes(path.read_bytes())
        (elsewhere / path.name).chmod(0o600)
    files.admin_key.unlink()
    entry, new = elsewhere / "change.entry", elsewhere / "ledger.key.new"
    signing = ["ledger-key", "sign", "--old-key", elsewhere / "ledger.key", "--new-key", new, "--output", entry]
    signed = run(*signing, "--admin-key", elsewhere / "admin.key")
    refused = run("ledger-key", "rotate", "--data", server.data, "--entry", entry, status=1)
    assert "must hold the new key before" in refused["error"]["message"]
    new.rename(files.new_ledger_key)
    said = run("ledger-key", "rotate", "--data", server.data, "--entry", entry)
    assert said["verifier_key"] == signed["verifier_key"]
    with Client(server.address, ledger=said["verifier_key"]) as client:
        assert client.get_entry(said["index"]).data == entry.read_bytes()
    again = run("ledger-key", "rotate", "--data", server.data, "--entry", entry, status=1)
    assert "must hold the new key before" in again["error"]["message"]


def _change(server: RunningServer, entry: bytes) -> int:
    with Client(f"unix:{server.data / 'admin.sock'}", ledger=server.verifier_key) as client:
        return client.change_ledger_key(entry)


def test_what_the_ledger_refuses(server, tmp_path):
    files = DataDir(server.data)
    old, admin_key = (keys.read_signing_key(path)[1] for path in (files.ledger_key, files.admin_key))
    new, other = keys.SigningKey.generate(), keys.SigningKey.generate()

    def entry(old: keys.SigningKey, new: keys.SigningKey, admin_key: keys.SigningKey, origin: str = ORIGIN) -> bytes:
        return admin.build_ledger_key_change(origin, old_key=old, new_key=new, time_unix_ns=1, admin_key=admin_key)

    keys.write_signing_key(files.new_ledger_key, ORIGIN, new)
    for wrong, reason in (
        (entry(other, new, admin_key), "the ledger's is"),
        (entry(old, other, admin_key), "and not the one that the entry puts"),
        (entry(old, new, other), "not an admin key"),
        (entry(old, new, admin_key, "example.com/other"), "did not sign"),
    ):
        with pytest.raises((RpcError, SignatureError), match=reason):
            _change(server, wrong)
    assert _change(server, entry(old, new, admin_key)) > 0
    keys.write_signing_key(files.new_ledger_key, ORIGIN, old)
    with pytest.raises(RpcError, match="takes none a second time"):
        _change(server, entry(new, old, admin_key))


@pytest.mark.parametrize("prove", [False, True])
def test_emitters_go_on_through_rotations_without_a_loss(server, key_file, prove):
    """Predictions come all the while; each is acknowledged, nothing is lost, and no flush fails."""
    first, stop, emitted = server.verifier_key, threading.Event(), [0]
    errors: list[Exception] = []
    with Emitter(
        server.address,
        ledger=first,
        key=key_file,
        policy=Policy(linger_ms=2, prove=prove),
        on_error=errors.append,
    ) as emitter:
        binding = emitter.bind(bytes(range(32)))

        def emit() -> None:
            while not stop.is_set():
                binding.emit(bytes(32), bytes(32), duration_us=1)
                emitted[0] += 1
                time.sleep(0.001)

        thread = threading.Thread(target=emit)
        thread.start()
        for _ in range(3):
            time.sleep(0.1)
            rotate(server.data)
            emitter.flush(20)
        stop.set()
        thread.join()
        emitter.flush(20)
        assert (emitter.statistics.lost, emitter.statistics.pending) == (0, 0)
    report = run("audit", "--data", server.data, "--key", first)
    assert report["exit_status"] == 0
    assert (report["counts"]["predictions"], report["counts"]["lost"]) == (emitted[0], 0)
    assert errors == []


def test_http_and_an_exported_folder_go_on(tmp_path):
    folder = tmp_path / "public"
    with RunningServer(tmp_path / "l", "--origin", ORIGIN, "--http", "127.0.0.1:0") as server:
        pins = [server.verifier_key]
        for _ in range(2):
            run("export", "--data", server.data, folder)
            pins.append(rotate(server.data)["verifier_key"])
        run("export", "--data", server.data, folder)
        for pin in pins:
            for place in (("--url", server.http_url), ("--folder", folder)):
                report = run("audit", *place, "--key", pin)
                assert report["exit_status"] == 0 and not report["findings"]
        head = HttpClient().get(f"{server.http_url}/checkpoint", 10_000).body
        assert Checkpoint.open(head, Verifier.parse(pins[2])).size > 2


# -- thieves -----------------------------------------------------------------------------------------------------------


def _signed_by(path: Path, checkpoint: Checkpoint) -> bytes:
    return checkpoint.sign(Signer(*keys.read_signing_key(path)))


def test_a_thief_of_the_old_key_is_caught_by_whoever_saw_the_change(server, key_file):
    first = server.verifier_key
    with (
        Emitter(server.address, ledger=first, key=key_file, policy=Policy(linger_ms=2)) as emitter,
        Client(server.address, ledger=first) as client,
    ):
        prediction_id = _emit(emitter)[0]
        said = rotate(server.data)
        _emit(emitter)
        newest, receipt = client.checkpoint(), client.receipt(prediction_id)
        history = client._operations.history
    stolen = next((server.data / "keys").glob("*.retired"))
    forged = _signed_by(stolen, newest)
    Checkpoint.open(forged, Verifier.parse(first))  # who never heard of the change cannot tell
    with pytest.raises(OtherKeyError):
        history.open(forged)
    head, _, _ = receipt.rpartition(newest.encode().encode())
    with pytest.raises(OtherKeyError):
        verify_receipt(head + forged, Verifier.parse(first))
    kept = server.data.with_name("forged.checkpoint")
    kept.write_bytes(forged)
    report = run("audit", "--data", server.data, "--key", said["verifier_key"], "--checkpoint", kept, status=2)
    assert "signed by" in report["failures"][0]


def test_the_new_key_signs_nothing_older_than_itself(server):
    with Client(server.address, ledger=server.verifier_key) as client:
        before = client.checkpoint()
        rotate(server.data)
        client.checkpoint()
        forged = _signed_by(DataDir(server.data).ledger_key, before)
        with pytest.raises(OtherKeyError):
            client._operations.history.open(forged)


def test_a_client_that_knows_a_change_is_not_told_otherwise(server, monkeypatch):
    """By a server that shows another history of its keys, with a change left out."""
    with Client(server.address, ledger=server.verifier_key) as client:
        rotate(server.data)
        client.checkpoint()
        operations = client._operations
        known = operations.history.keys
        rotate(server.data)
        assert isinstance(known, LedgerKeys)
        shorter = LedgerKeys(known.changes[:1])
        monkeypatch.setattr("lineage_ledger.agreement.follow_proven", lambda *_: (shorter, None))
        with pytest.raises(VerificationError, match="other changes of the key"):
            client.checkpoint()


def test_the_second_verifier_says_the_same(server, key_file):
    """Independent code, written from the specification: receipts and a whole audit across two changes."""
    pins = [server.verifier_key]
    with (
        Emitter(server.address, ledger=server.verifier_key, key=key_file, policy=Policy(linger_ms=2)) as emitter,
        Client(server.address, ledger=server.verifier_key) as client,
    ):
        ids = _emit(emitter)
        old, before = client.receipt(ids[0]), client.signed_checkpoint()
        pins += [rotate(server.data)["verifier_key"] for _ in range(2)]
        ids += _emit(emitter)
        new, (checkpoint, note) = [client.receipt(one) for one in ids], client.signed_checkpoint()
        packed = [part for _, part in client.stream_entries(0, checkpoint.size)]
        earlier = [part for _, part in client.stream_entries(0, before[0].size)]
        head, _, _ = new[0].partition(b"\n\n")
    for pin in pins:
        key = second_notes.parse_vkey(pin)
        assert [verify_lineage(receipt, key).prediction_id for receipt in new] == ids
        assert second_audit(packed, note, pin) == []
    assert verify_lineage(old, second_notes.parse_vkey(pins[0])).prediction_id == ids[0]
    assert second_audit(earlier, before[1], pins[0]) == []
    stranger = str(Verifier(ORIGIN, keys.SigningKey.generate().public_key))
    for receipt, pin in ((old, pins[2]), (new[0], stranger)):
        with pytest.raises(ValueError, match="never the ledger's"):
            verify_lineage(receipt, second_notes.parse_vkey(pin))
        with pytest.raises(UnknownPinError):
            verify_receipt(receipt, Verifier.parse(pin))
    assert second_audit(packed, note, stranger)
    for stolen in (server.data / "keys").glob("*.retired"):
        forged = _signed_by(stolen, checkpoint)
        assert second_audit(packed, forged, pins[2])
        for pin in pins:
            with pytest.raises(ValueError, match="no known key"):
                verify_lineage(head + b"\n\n" + forged, second_notes.parse_vkey(pin))


def test_a_change_that_is_taken_out_of_a_receipt(server, key_file):
    """Whoever pinned the old key is not led to the new one then, and the tree's proof does not hold either."""
    with (
        Emitter(server.address, ledger=server.verifier_key, key=key_file, policy=Policy(linger_ms=2)) as emitter,
        Client(server.address, ledger=server.verifier_key) as client,
    ):
        prediction_id = _emit(emitter)[0]
        said = rotate(server.data)
        receipt = Receipt.parse(client.receipt(prediction_id))
    entries = {index: entry for index, entry in receipt.entries.items() if index != said["index"]}
    assert len(entries) == len(receipt.entries) - 1
    without = replace(receipt, entries=entries).encode()
    for pin, kind in ((said["replaced"], OtherKeyError), (said["verifier_key"], UnknownPinError)):
        with pytest.raises(kind):
            verify_receipt(without, Verifier.parse(pin))


def test_verify_takes_several_keys(server, key_file, tmp_path):
    first = server.verifier_key
    with Emitter(server.address, ledger=first, key=key_file, policy=Policy(linger_ms=2)) as emitter:
        prediction_id = _emit(emitter)[0]
    receipt, proof = tmp_path / "old.receipt", tmp_path / "old.tlog-proof"
    run("receipt", "--data", server.data, prediction_id, "-o", receipt)
    run("receipt", "--data", server.data, "2", "-o", proof)
    newest = rotate(server.data)["verifier_key"]
    pins = tmp_path / "ledger.vkeys"
    pins.write_text(f"{newest}\n{first}\n")
    for path in (receipt, proof):
        for good in (first, pins, f"{newest} {first}"):
            assert run("verify", path, "--key", good)["verified"] is True
        assert "key" in run("verify", path, "--key", newest, status=1)["error"]["message"]
    pins.write_text("\n")
    assert run("verify", receipt, "--key", pins, status=2)["error"]
