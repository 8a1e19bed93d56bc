"""Files that earlier releases handed out verify, and say what they said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.recorded_ledger import run
from tests.golden.golden import FOLDER, Golden, document_of, goldens, is_within

RELEASES = sorted(path.parent for path in FOLDER.glob("*/expected.json"))
CASES = [(folder, golden) for folder in RELEASES for golden in goldens(folder)]


def test_there_are_releases_and_all_their_files_are_looked_at() -> None:
    assert RELEASES
    for folder in RELEASES:
        made = {path.name for path in folder.iterdir() if path.suffix.endswith(("receipt", "proof")) or path.is_dir()}
        assert made == {golden.name for golden in goldens(folder)}


@pytest.mark.parametrize(("folder", "golden"), CASES, ids=[f"{folder.name}-{golden.name}" for folder, golden in CASES])
def test_it_verifies_and_says_what_it_said(folder: Path, golden: Golden) -> None:
    assert is_within(golden.document, document_of(folder, golden.name))


@pytest.mark.parametrize("folder", RELEASES, ids=[folder.name for folder in RELEASES])
def test_with_a_byte_changed_it_does_not(folder: Path, tmp_path: Path) -> None:
    for golden in goldens(folder):
        if golden.name == "log":
            continue
        data = (folder / golden.name).read_bytes()
        entry = folder / f"{golden.name}.entry"
        options: list[object] = ["--entry", entry] if entry.exists() else []
        if golden.name.startswith("witnessed"):  # A cosignature that nobody asks for may be anything.
            options += ["--witness-policy", folder / "witness.policy"]
        changed = tmp_path / golden.name
        for place in range(1, len(data), max(1, len(data) // 10)):
            changed.write_bytes(data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :])
            assert run("verify", changed, "--key", folder / "ledger.vkey", *options).exit_code == 1


@pytest.mark.parametrize("folder", RELEASES, ids=[folder.name for folder in RELEASES])
def test_without_its_witness_it_proves_nothing(folder: Path) -> None:
    arguments = ("--key", folder / "ledger.vkey", "--witness-policy", folder / "witness.policy")
    assert run("verify", folder / "witnessed.receipt", *arguments).exit_code == 0
    assert run("verify", folder / "prediction.receipt", *arguments).exit_code == 1


@pytest.mark.parametrize("folder", RELEASES, ids=[folder.name for folder in RELEASES])
def test_the_new_key_verifies_what_came_after_it(folder: Path) -> None:
    assert run("verify", folder / "after-rotation.receipt", "--key", folder / "new.vkey").exit_code == 0
