"""`lineage checkpoint`: what is kept elsewhere is proven to go on, and never lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineage_ledger.formats import keys
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger_server.data_dir import DataDir
from tests.cli.recorded_ledger import run, run_json
from tests.support.server import RunningServer

ORIGIN = "example.com/ledger/kept"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("kept") / "ledger", "--origin", ORIGIN) as server:
        yield server


def grow(server: RunningServer, tmp_path: Path) -> None:
    """One more producer is two more entries."""
    run_json("keygen", tmp_path / "p.key", "--name", "p")
    run_json("producers", "add", "--data", server.data, "--key-file", tmp_path / "p.key")
    (tmp_path / "p.key").unlink()


def signed_by_the_ledger(server: RunningServer, size: int, root: bytes) -> bytes:
    name, key = keys.read_signing_key(DataDir(server.data).ledger_key)
    return Checkpoint(name, size, root).sign(Signer(name, key))


def test_what_is_printed_is_the_signed_note(server: RunningServer, tmp_path: Path) -> None:
    result = run("checkpoint", "--data", server.data)
    assert result.exit_code == 0
    opened = Checkpoint.open(result.stdout_bytes, Verifier.parse(server.verifier_key))
    document = run_json("checkpoint", "--data", server.data)
    assert (document["origin"], document["tree_size"], document["root"]) == (ORIGIN, opened.size, opened.root.hex())
    assert document["checkpoint"].encode() == result.stdout_bytes


def test_what_is_compared_and_holds_no_checkpoint_is_named(server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "theirs.txt"
    path.write_text("no note\n")
    result = run("checkpoint", "--data", server.data, "--compare", path)
    assert result.exit_code == 1
    assert f"{path} holds no checkpoint" in result.stderr


def test_the_pinned_key_has_one_option_everywhere(server: RunningServer, tmp_path: Path) -> None:
    for name in ("--key", "--verifier-key"):
        access = ("--server", server.address, name, server.verifier_key)
        assert run("checkpoint", *access).exit_code == 0
        assert run("monitor", *access, "--state", tmp_path / name, "--once").exit_code == 0
        assert run("audit", *access).exit_code == 0


def test_a_kept_one_is_replaced_by_one_that_goes_on_from_it(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "kept.checkpoint"
    first = run_json("checkpoint", "--data", server.data, "-o", file)
    assert "continues_tree_size" not in first
    assert file.stat().st_mode & 0o777 == 0o644
    grow(server, tmp_path)
    second = run_json("checkpoint", "--data", server.data, "-o", file)
    assert second["continues_tree_size"] == first["tree_size"] < second["tree_size"]
    assert file.read_text() == second["checkpoint"]
    again = run("checkpoint", "--data", server.data, "-o", file)
    assert "proven" in again.stdout
    audited = run("audit", "--data", server.data, "--key", server.verifier_key, "--checkpoint", file)
    assert audited.exit_code == 0
    assert "truncation" not in audited.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["kept.checkpoint"]


def test_what_does_not_go_on_from_the_kept_one_is_refused(server: RunningServer, tmp_path: Path) -> None:
    size = run_json("checkpoint", "--data", server.data)["tree_size"]
    other = Signer("example.com/other", keys.SigningKey.generate())
    cases = [
        (signed_by_the_ledger(server, size + 1, bytes(32)), "cut off"),
        (signed_by_the_ledger(server, size, bytes(32)), "does not go on"),
        (signed_by_the_ledger(server, size - 1, bytes(32)), "does not go on"),
        (Checkpoint(other.name, 1, bytes(32)).sign(other), "holds no checkpoint of"),
        (signed_by_the_ledger(server, 2, bytes(32))[:-20], "holds no checkpoint of"),
        (b"precious", "holds no checkpoint of"),
        (b"", "holds no checkpoint of"),
    ]
    file = tmp_path / "kept.checkpoint"
    for content, said in cases:
        file.write_bytes(content)
        result = run("checkpoint", "--data", server.data, "-o", file)
        assert (result.exit_code, result.stdout) == (1, "")
        assert said in result.stderr
        assert file.read_bytes() == content
        as_json = run("checkpoint", "--data", server.data, "-o", file, "--json")
        assert json.loads(as_json.stderr)["error"]["kind"] in {"VerificationError", "ProofError", "FileError"}


def test_what_the_server_says_is_held_against_the_pinned_key(server: RunningServer, tmp_path: Path) -> None:
    other = str(Verifier(ORIGIN, keys.SigningKey.generate().public_key))
    file = tmp_path / "kept.checkpoint"
    result = run("checkpoint", "--data", server.data, "--verifier-key", other, "-o", file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert not file.exists()


def test_a_file_that_cannot_be_written(server: RunningServer, tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "folder", tmp_path):
        result = run("checkpoint", "--data", server.data, "-o", path)
        assert result.exit_code in {1, 2}
        assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []
