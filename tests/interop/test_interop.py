"""Logs of telling sizes, exported and served, pass checkers that others wrote."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from lineage_ledger.formats.note import Note, Verifier
from lineage_ledger.formats.tiles import TILE_WIDTH, tiles_of
from lineage_ledger.formats.tlog_proof import TlogProof
from tests.interop.published_log import PublishedLog, check_with_go, check_with_scales, passed, publish, tools

pytestmark = pytest.mark.interop

SIZES = (1, 255, 256, 257, 70_000, 1_000_003)
SAMPLES = 1_000

in_both_places = pytest.mark.parametrize("where", ["folder", "http"])


@pytest.fixture(scope="module", params=SIZES)
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublishedLog]:
    published = publish(tmp_path_factory.mktemp("log"), request.param)
    yield published
    published.server.close()


@in_both_places
def test_the_go_program_hashes_all_entries_again(log: PublishedLog, where: str) -> None:
    options = [f"-older={path}" for path in log.older.values()] + [f"-proof={path}" for path in log.proofs]
    checked = passed(check_with_go(log.at(where), log.verifier_key, *options))
    note = Note.parse((log.folder / "checkpoint").read_bytes())
    assert checked.pop("origin") == log.server.origin
    assert checked.pop("root") == note.text.split("\n")[2]
    assert checked == {
        "size": log.size,
        "entries": log.size,
        "bundles": -(-log.size // TILE_WIDTH),
        "tiles": len(list(tiles_of(log.size))),
        "inclusion_proofs": min(log.size, SAMPLES),
        "consistent_with": list(log.older),
        "proof_files": len(log.proofs),
    }


@in_both_places
def test_tlog_scales_proves_samples_and_older_checkpoints(log: PublishedLog, where: str) -> None:
    checked = passed(check_with_scales(log.at(where), log.verifier_key, *log.older.values()))
    assert checked == {"size": log.size, "inclusion": min(log.size, SAMPLES), "consistency": len(log.older)}


@in_both_places
def test_we_verify_a_proof_that_tlog_scales_makes(log: PublishedLog, where: str) -> None:
    scales = [str(tools() / "tlog-scales/bin/python"), "-m", "tlog_scales.cli"]
    location = (log.at(where), str(log.size // 2))
    proof = subprocess.run([*scales, "gen-proof", *location], capture_output=True, check=True).stdout
    entry = subprocess.run([*scales, "get-leaf", "--check", *location], capture_output=True, check=True).stdout
    checkpoint = TlogProof.parse(proof).verify(entry, Verifier.parse(log.verifier_key))
    assert checkpoint.size == log.size
