"""What is changed in an exported log, or held against it, is noticed: a checker that cannot fail shows nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from lineage_ledger.formats import packed
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey, read_signing_key
from lineage_ledger.formats.note import Signer
from lineage_ledger.formats.tlog_proof import TlogProof
from tests.interop.published_log import PublishedLog, check_with_go, check_with_scales, passed, publish

pytestmark = pytest.mark.interop

Change: TypeAlias = Callable[[Path, Signer], None]
Check: TypeAlias = Callable[[str, str], subprocess.CompletedProcess[str]]

BUNDLE, PARTIAL_BUNDLE = "tile/entries/000", "tile/entries/001.p/1"
TILE, PARTIAL_TILE, UPPER_TILE = "tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublishedLog]:
    published = publish(tmp_path_factory.mktemp("small"), 257)
    for check in (check_with_go, check_with_scales):
        passed(check(str(published.folder), published.verifier_key))
    yield published
    published.server.close()


def flip(path: str, at: int) -> Change:
    def change(folder: Path, _: Signer) -> None:
        data = bytearray((folder / path).read_bytes())
        data[at] ^= 0x10
        (folder / path).write_bytes(data)

    return change


def drop(path: str) -> Change:
    return lambda folder, _: (folder / path).unlink()


def reorder(folder: Path, _: Signer) -> None:
    entries = packed.split((folder / BUNDLE).read_bytes())
    entries[100:102] = entries[101:99:-1]
    (folder / BUNDLE).write_bytes(packed.pack(entries))


def leave_out(folder: Path, _: Signer) -> None:
    (folder / BUNDLE).write_bytes(packed.pack(packed.split((folder / BUNDLE).read_bytes())[:-1]))


def sign(**values: object) -> Change:
    """Sign another checkpoint, with the ledger's own key."""

    def change(folder: Path, signer: Signer) -> None:
        was = Checkpoint.open((folder / "checkpoint").read_bytes(), signer.verifier)
        fields = {"origin": was.origin, "size": was.size, "root": was.root, **values}
        (folder / "checkpoint").write_bytes(Checkpoint(**fields).sign(signer))  # type: ignore[arg-type]  # by name

    return change


def sign_with_another_key(folder: Path, signer: Signer) -> None:
    sign()(folder, signer)
    was = Checkpoint.open((folder / "checkpoint").read_bytes(), signer.verifier)
    (folder / "checkpoint").write_bytes(was.sign(Signer(signer.name, SigningKey.generate())))


CHANGES: dict[str, Change] = {
    "a byte of an entry": flip(BUNDLE, 40),
    "a byte of the newest entry": flip(PARTIAL_BUNDLE, 9),
    "a byte of a tile": flip(TILE, 32 * 77),
    "a byte of a partial tile": flip(PARTIAL_TILE, 31),
    "a byte of a tile above": flip(UPPER_TILE, 0),
    "a byte of the checkpoint's root": flip("checkpoint", 40),
    "two entries reordered": reorder,
    "an entry left out": leave_out,
    "no newest bundle": drop(PARTIAL_BUNDLE),
    "no tile": drop(TILE),
    "another root, signed": sign(root=bytes(32)),
    "another size, signed": sign(size=256),
    "another key": sign_with_another_key,
}


@pytest.mark.parametrize("check", [check_with_go, check_with_scales])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_log_is_noticed(small: PublishedLog, tmp_path: Path, change: Change, check: Check) -> None:
    folder = tmp_path / "log"
    shutil.copytree(small.folder, folder)
    change(folder, Signer(*read_signing_key(small.server.data / "keys/ledger.key")))
    result = check(str(folder), small.verifier_key)
    assert result.returncode == 1, result.stdout


def refused_by_go(small: PublishedLog, *options: str, vkey: str = "") -> str:
    result = check_with_go(str(small.folder), vkey or small.verifier_key, *options)
    assert result.returncode == 1, result.stdout
    return result.stderr


def test_the_go_program_wants_the_ledgers_key(small: PublishedLog) -> None:
    other = Signer(small.server.origin, SigningKey.generate()).verifier
    assert "checkpoint:" in refused_by_go(small, vkey=str(other))


def test_the_go_program_notices_a_fork(small: PublishedLog, tmp_path: Path) -> None:
    signer = Signer(*read_signing_key(small.server.data / "keys/ledger.key"))
    for size in (100, small.size):
        fork = tmp_path / f"fork-{size}"
        fork.write_bytes(Checkpoint(signer.name, size, bytes(range(32))).sign(signer))
        assert "consistency" in refused_by_go(small, f"-older={fork}")


def test_the_go_program_notices_a_proof_of_something_else(small: PublishedLog, tmp_path: Path) -> None:
    file = tmp_path / "changed.tlog-proof"
    proof, entry = (small.proofs[1].with_name(small.proofs[1].name + suffix).read_bytes() for suffix in ("", ".entry"))
    index = TlogProof.parse(proof).index
    other_index = proof.replace(b"index %d\n" % index, b"index %d\n" % (index + 1))
    for changed_proof, changed_entry in ((other_index, entry), (proof, entry + b"\0")):
        file.write_bytes(changed_proof)
        file.with_name(file.name + ".entry").write_bytes(changed_entry)
        assert "tlog-proof:" in refused_by_go(small, f"-proof={file}")
