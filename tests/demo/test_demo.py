"""`lineage demo` from end to end, in a process of its own, and how it ends when something is in its way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from lineage_ledger.formats.note import Verifier
from lineage_ledger.receipts import verify_receipt
from lineage_ledger_server.cli.demo import demo as demo_command
from lineage_ledger_server.cli.demo import new_folder
from lineage_ledger_server.demo import tamper
from lineage_ledger_server.demo.shell import DemoError, Shell, free_port
from tests.support.server import RunningServer
from tests.support.stored import opened

LINEAGE = [sys.executable, "-m", "lineage_ledger.cli"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}


def demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LINEAGE, "demo", "--dir", str(folder), *options],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def left_running(folder: Path) -> list[str]:
    """Command lines of processes whose working directory is `folder` or below."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.joinpath("cwd").readlink().is_relative_to(folder):
                found.append(process.joinpath("cmdline").read_text())
        except OSError:
            continue
    return found


def test_the_demo_tells_its_story(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    process = demo(folder, "--requests", "600")
    text, _ = process.communicate(timeout=110)
    assert process.returncode == 0, text
    assert "600 answers in" in text
    assert left_running(folder) == []
    # The trace leads from the answer to everything it came from.
    trace = text.split("$ lineage trace ")[1].split("$ ")[0]
    for piece in ("deployment tumour-classifier", "model tumour-classifier", "training run fit", "dataset train.csv"):
        assert piece in trace
    for piece in ("(clean)", "parameter regularization = 0.5", "environment environment.txt", "Risk office"):
        assert piece in trace
    # The receipt is of that prediction, and the contents open its commitments.
    (prediction_id,) = set(re.findall(r"[0-9a-f]{32}-\d+-[0-9a-f]{8}", text))
    verifier = Verifier.parse((folder / "ledger.vkey").read_text().strip())
    assert str(verify_receipt((folder / "prediction.receipt").read_bytes(), verifier).prediction_id) == prediction_id
    assert "request.json is what was committed to" in text
    assert "response.json is what was committed to" in text
    assert text.count("is not what was committed to") == 1
    # The audit passes, and names what was changed in the copy.
    assert "no number is missing" in text.split("$ lineage completeness ")[1].split("$ ")[0]
    audits = text.split("$ lineage audit ")[1:]
    assert audits[0].startswith("--folder public ")
    assert "All entries, hashes, links and signatures check." in audits[0]
    index = re.search(r"Change one stored byte of entry (\d+)", text)
    assert index is not None
    assert f"finding: entry {index[1]}: entry_changed" in audits[1]
    assert audits[1].count("finding: ") == 1
    # What it says to try next works.
    hints = [line.strip() for line in text.split("what to try next:")[1].splitlines() if line.startswith("  ")]
    serve = next(hint for hint in hints if hint.startswith("lineage serve"))
    shell = Shell(folder)
    with RunningServer(folder / "ledger", listen=serve.split("#")[0].split()[-1]):
        for hint in hints:
            if hint.startswith("lineage") and hint != serve:
                assert shell.run(*hint.split(), shown=False)


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    process = demo(tmp_path)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "is not empty" in text
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_a_name_the_folder_is_one_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = []
    for _ in range(3):
        made.append(new_folder(None))
        (made[-1] / "something").touch()
    assert [path.name for path in made] == ["lineage-demo", "lineage-demo-2", "lineage-demo-3"]


def test_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    result = CliRunner().invoke(demo_command, ["--dir", str(tmp_path / "demo")])
    assert result.exit_code == 1
    assert "pip install 'lineage-ledger-server[demo]'" in result.output
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "demo"
    before = signal.signal(number, lambda *_: None)  # a shell's background job ignores SIGINT, and would hand that on
    process = demo(folder)
    signal.signal(number, before)
    deadline = time.monotonic() + 30
    while not (folder / "lineage.toml").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_running(folder)
    process.send_signal(number)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 1, text
    assert "interrupted" in text
    assert left_running(folder) == []


def test_a_command_that_fails_is_named_and_what_runs_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="status 3, not 0"), Shell(tmp_path) as shell:
        shell.start("python", "-c", "import time; time.sleep(60)", log="log", is_ready=lambda: True)
        assert len(left_running(tmp_path)) == 1
        shell.run("python", "-c", "raise SystemExit(3)")
    assert left_running(tmp_path) == []
    with pytest.raises(DemoError, match="said so"), Shell(tmp_path) as shell:
        shell.start("python", "-c", "raise SystemExit('said so')", log="other", is_ready=lambda: False)


def test_only_entries_of_full_bundles_are_changed(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "ledger") as server:
        server.stop()
    before = (tmp_path / "ledger" / "log" / "data.mdb").read_bytes()
    with pytest.raises(DemoError, match="full bundle"):
        tamper.flip_byte(tmp_path / "ledger", 0)
    assert (tmp_path / "ledger" / "log" / "data.mdb").read_bytes() == before
    with opened(tmp_path / "ledger") as reader:
        assert reader.head().size > 0


def test_a_free_port_is_free() -> None:
    assert 1_024 < free_port() < 65_536
