"""Makes the golden files of a release: `python -m tests.golden.make VERSION`.

They are made once, by a real ledger, its commands and a real witness, and never again: keys and times are their own. A
folder that is there is not touched.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lineage_ledger.formats.keys import read_signing_key
from lineage_ledger.formats.note import Verifier
from tests.cli.recorded_ledger import RecordedLedger, record_ledger, run, run_json
from tests.golden.golden import FOLDER, Golden, document_of
from tests.support.server import RunningServer
from tests.witness.running_witness import RunningWitness

_WITNESSED_S = 20.0


def make(folder: Path) -> None:
    """Everything that a release hands out and that must verify for ever, into the new folder `folder`."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        ledger = record_ledger(Path(work))
        data = ledger.data[1]
        try:
            _as_it_is(ledger, folder)
        finally:
            assert ledger.server.stop() == 0
        key = (folder / "ledger.vkey").read_text().strip()
        witness = RunningWitness(Path(work) / "witness", Verifier.parse(key))
        try:
            policy = folder / "witness.policy"
            policy.write_text(
                f"log {key}\n{witness.policy_line}\ngroup all 1 {witness.policy_line.split()[1]}\nquorum all\n"
            )
            with RunningServer(Path(data), "--witness-policy", str(policy)) as server:
                _witnessed(ledger, folder)
                _after_a_change_of_keys(ledger, folder)
                assert server.stop() == 0
            # What anybody verifies needs no URL, and that of a test is of no use to anybody.
            name, verifier_key = witness.policy_line.split()[1:3]
            policy.write_text(f"log {key}\nwitness {name} {verifier_key}\ngroup all 1 {name}\nquorum all\n")
        finally:
            witness.kill()
    names = [file.name for file in sorted(folder.iterdir()) if file.suffix.endswith(("receipt", "proof"))]
    goldens = [Golden(name, document_of(folder, name)) for name in names]
    goldens.append(Golden("log", document_of(folder, "log")))
    text = json.dumps([golden._asdict() for golden in goldens], indent=1, ensure_ascii=False)
    (folder / "expected.json").write_text(f"{text}\n")


def _as_it_is(ledger: RecordedLedger, folder: Path) -> None:
    shutil.copy(Path(ledger.data[1]) / "verifier.key", folder / "ledger.vkey")
    first = ledger.predictions[0]
    _until(lambda: run("receipt", first, "-o", folder / "prediction.receipt", *ledger.data, "--force").exit_code == 0)
    run_json("receipt", ledger.index("model"), "-o", folder / "model.tlog-proof", *ledger.data)
    run_json("completeness", "--chain", first.chain_id.hex(), "-o", folder, *ledger.data)
    (folder / "old.checkpoint").write_bytes(_checkpoint(ledger, folder))


def _witnessed(ledger: RecordedLedger, folder: Path) -> None:
    for what, file in ((ledger.predictions[1], "witnessed.receipt"), (ledger.index("run"), "witnessed.tlog-proof")):
        arguments = ("receipt", what, "--witnessed", "--force", "-o", folder / file, *ledger.data)
        _until(partial(_succeeds, arguments))


def _after_a_change_of_keys(ledger: RecordedLedger, folder: Path) -> None:
    run_json("ledger-key", "rotate", *ledger.data)
    _, key = read_signing_key(ledger.folder / "producer.key")
    run_json("producers", "compromise", *ledger.data, key.public_key.hex(), "--suspect-since", "2026-01-01")
    shutil.copy(Path(ledger.data[1]) / "verifier.key", folder / "new.vkey")
    later = folder / "after-rotation.receipt"
    _until(lambda: run("receipt", ledger.predictions[2], "--force", "-o", later, *ledger.data).exit_code == 0)
    run_json("export", *ledger.data, folder / "log")


def _checkpoint(ledger: RecordedLedger, folder: Path) -> bytes:
    file = folder / "kept"
    run_json("checkpoint", *ledger.data, "-o", file)
    try:
        return file.read_bytes()
    finally:
        file.unlink()


def _succeeds(arguments: tuple[object, ...]) -> bool:
    return run(*arguments).exit_code == 0


def _until(done: Callable[[], bool]) -> None:
    """Indexes and witnesses follow a little later."""
    until_s = time.monotonic() + _WITNESSED_S
    while not done():
        if time.monotonic() > until_s:
            raise SystemExit("it did not come to pass")
        time.sleep(0.2)


if __name__ == "__main__":
    make(FOLDER / sys.argv[1])
