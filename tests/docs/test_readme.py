"""The README's code runs, and does what the README says of it."""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from lineage_ledger import Client
from lineage_ledger.errors import RpcError
from lineage_ledger.formats import keys, statement
from lineage_ledger.formats.prediction import PredictionId
from tests.support.rpc import registered
from tests.support.server import RunningServer

README = Path(__file__).parents[2] / "README.md"


def _snippet(name: str) -> str:
    found = re.search(rf"<!-- test: {name} -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, f"the README has no snippet {name}"
    return found[1]


@pytest.fixture
def serving(tmp_path):
    """The README's model server, with settings as the README names them; its address and the ledger."""
    with RunningServer(tmp_path / "l") as ledger:
        (tmp_path / "app.py").write_text(_snippet("serving"))
        keys.write_signing_key(tmp_path / "producer.key", "server", registered(ledger).key)
        deployment = statement.deployment(name="churn-prod", model="sha256:" + "ab" * 32)
        (tmp_path / "lineage.toml").write_text(
            f'server = "{ledger.address}"\nverifier_key = "{ledger.verifier_key}"\nkey_file = "producer.key"\n'
            f'deployment = "{statement.statement_hash(deployment).hex()}"\nspool = "spool"\n'
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app:app", "--port", "0"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if not name.startswith("LINEAGE_")},
        )
        try:
            yield _address(process), ledger
        finally:
            process.terminate()
            process.wait(20)
            assert process.stderr is not None
            process.stderr.close()


def _address(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    text, deadline = "", time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        if select.select([process.stderr], [], [], 0.1)[0]:
            text += os.read(process.stderr.fileno(), 65_536).decode()
        if found := re.search(r"running on (http://\S+)", text):
            return found[1]
    raise AssertionError(f"the model server did not start: {text}")


def test_three_lines_put_every_prediction_on_record(serving):
    address, ledger = serving
    answers = [httpx.post(f"{address}/predict", json=[0.1 * i, 0.9], timeout=10) for i in range(20)]
    assert [answer.json()["label"] for answer in answers] == [0.1 * i + 0.9 > 1.0 for i in range(20)]
    ids = [PredictionId.parse(answer.headers["x-lineage-prediction-id"]) for answer in answers]
    assert len(set(ids)) == 20
    deadline = time.monotonic() + 10
    with Client(ledger.address, ledger=ledger.verifier_key) as client:
        for prediction in ids:
            while True:
                try:
                    found = client.get_prediction(str(prediction))
                    break
                except RpcError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            assert str(found.prediction_id) == str(prediction)


def test_they_are_three_lines():
    added = re.findall(r"# (\d)$", _snippet("serving"), re.MULTILINE)
    assert added == ["1", "2", "3"]
    plain = [line for line in _snippet("serving").splitlines() if not re.search(r"# \d$", line)]
    assert "ineage" not in "\n".join(plain)


def test_what_it_links_to_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target


def test_every_make_target_and_command_exists():
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README.read_text(), re.MULTILINE):
        assert f"\n{target}:" in makefile
    for command in set(re.findall(r"^lineage (\w+)", README.read_text(), re.MULTILINE)):
        shown = subprocess.run(
            [Path(sys.executable).with_name("lineage"), command, "--help"], capture_output=True, text=True, check=False
        )
        assert shown.returncode == 0, (command, shown.stderr)


def test_setting_it_up_by_hand_works_as_printed(tmp_path):
    block = re.search(r"## Setting it up by hand\n\n```console\n(.*?)```", README.read_text(), re.DOTALL)
    assert block
    serve, *others = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "LINEAGE_SERVE_LISTEN": "127.0.0.1:0"}  # another test may have the port
    (tmp_path / "model.pkl").write_bytes(b"a model")
    assert serve.pop() == "&"
    with subprocess.Popen(serve, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            assert server.stdout.readline().startswith("verifier key: example.com/ledger/prod+")
            assert server.stdout.readline().startswith("serving ")
            printed = ""
            for words in others:
                if words[0] == "export":
                    environment |= dict(word.split("=") for word in words[1:])
                    continue
                digest = re.search(r"sha256:[0-9a-f]{64}", printed)
                words = [digest[0] if digest and word == "sha256:…" else word for word in words]
                done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, (words, done.stderr)
                printed += done.stdout
            assert re.search(r"deployment\n.*leaf hash +[0-9a-f]{64}\n", printed, re.DOTALL)
        finally:
            server.terminate()
