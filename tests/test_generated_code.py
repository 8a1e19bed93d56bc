"""The committed `lineage_ledger.v1` is what the pinned generator makes of proto/, byte for byte."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
PACKAGE = "lineage_ledger/v1"
COMMITTED = ROOT / "clients/python" / PACKAGE
NO_INTERPRETER = 3  # proto/generate.py: no Python here that the pinned generator has wheels for
REMEDY = "run `make proto` and commit what it writes"


def generated_files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if "_pb2" in path.name and path.is_file()}


def test_manifest_covers_every_input_and_output_and_matches() -> None:
    """Holds where the generator cannot run too: nobody edited one side alone."""
    lines = (PROTO / "generated.sha256").read_text(encoding="utf-8").splitlines()
    listed = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    paths = [
        PROTO / "requirements.txt",
        *(PROTO / PACKAGE).glob("*.proto"),
        *(COMMITTED / name for name in generated_files(COMMITTED)),
    ]
    actual = {path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    assert listed == actual, REMEDY


def test_every_proto_file_has_its_code_and_no_more() -> None:
    suffixes = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
    expected = {path.stem + suffix for path in (PROTO / PACKAGE).glob("*.proto") for suffix in suffixes}
    assert set(generated_files(COMMITTED)) == expected, REMEDY


@pytest.mark.timeout(300)
def test_generating_again_gives_the_committed_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(PROTO / "generate.py"), "--out", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode == NO_INTERPRETER:
        pytest.skip(finished.stderr.strip())
    assert finished.returncode == 0, finished.stdout + finished.stderr
    again, committed = generated_files(tmp_path / PACKAGE), generated_files(COMMITTED)
    assert again.keys() == committed.keys(), REMEDY
    assert [name for name in again if again[name] != committed[name]] == [], REMEDY
