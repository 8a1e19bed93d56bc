"""`lineage witness serve` as a process: HTTP, bounds, and SIGKILL at any moment."""

from __future__ import annotations

import hashlib
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from lineage_ledger.cli.app import lineage
from lineage_ledger.formats import keys
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Cosigner, Signer, Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger.formats.witness_protocol import MAX_REQUEST_BYTES, PATH, SIZE_TYPE, parse_size, read_cosignature
from lineage_ledger.web import HttpClient, WebError
from lineage_ledger_server.witness.folder import open_witness
from tests.witness.running_witness import Log, RunningWitness

LOG = Log()
ORIGIN_HASH = hashlib.sha256(LOG.signer.name.encode()).hexdigest()
FORK = Log(LOG.signer, salt=b"fork", fork_at=5)


def test_over_http(tmp_path: Path) -> None:
    with RunningWitness(tmp_path / "w", LOG.signer.verifier) as witness:
        policy = WitnessPolicy.parse(f"{witness.policy_line}\nquorum none\n".encode())
        assert (policy.witnesses[0].verifier, policy.witnesses[0].url) == (witness.cosigner.verifier, witness.url)
        good = witness.post(LOG.request(0, 5).encode())
        assert good.status == 200
        assert read_cosignature(good.body, LOG.checkpoint(5).encode(), witness.cosigner.verifier)
        conflict = witness.post(LOG.request(0, 9).encode())
        assert (conflict.status, conflict.headers["content-type"], conflict.body) == (409, SIZE_TYPE, b"5\n")
        assert witness.post(FORK.request(5, 9).encode()).status == 200  # they part at 5
        assert witness.post(LOG.request(9, 9).encode()).status == 422
        other = Log(Signer("example.com/other", LOG.signer.key))
        assert witness.post(other.request(0, 5).encode()).status == 404
        thief = Log(Signer("example.com/log", keys.SigningKey.generate()))
        assert witness.post(thief.request(9, 10).encode()).status == 403
        assert witness.post(b"nonsense").status == 400
        assert witness.post(b"old 0\n\n" + b"x" * MAX_REQUEST_BYTES).status == 400
        connection = http.client.HTTPConnection(witness.listen, timeout=10)
        for method, path, status in (
            ("GET", PATH, 405),
            ("POST", "/", 404),
            ("POST", f"{PATH}/", 404),
            ("PUT", f"/{ORIGIN_HASH}/checkpoint", 405),
        ):
            connection.request(method, path, b"")
            response = connection.getresponse()
            response.read()
            assert response.status == status, (method, path)
        connection.close()
        with closing(HttpClient(retries=0)) as anyone:
            shown = anyone.get(f"{witness.url}/{ORIGIN_HASH}/checkpoint", 65_536)
            with pytest.raises(WebError, match="404"):
                anyone.get(f"{witness.url}/{ORIGIN_HASH.upper()}/checkpoint", 65_536)
        assert policy.cosignatures(shown.body)
        assert Checkpoint.open(shown.body, LOG.signer.verifier) == FORK.checkpoint(9)
        assert witness.stop() == 0
    with RunningWitness(tmp_path / "w", LOG.signer.verifier) as again:
        assert again.post(LOG.request(0, 12).encode()).body == b"9\n"


def test_a_body_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    with RunningWitness(tmp_path / "w", LOG.signer.verifier) as witness:
        host, port = witness.listen.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as endless:
            endless.sendall(f"POST {PATH} HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            is_over = False
            for _ in range(500):
                try:
                    endless.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                    is_over = bool(select.select([endless], [], [], 0.01)[0]) and not endless.recv(4096)
                except ConnectionError:
                    is_over = True
                if is_over:
                    break
            assert is_over
        assert witness.post(LOG.request(0, 5).encode()).status == 200


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    with (
        RunningWitness(tmp_path / "w", LOG.signer.verifier) as witness,
        pytest.raises(RuntimeError, match="did not start"),
    ):
        RunningWitness(tmp_path / "w", LOG.signer.verifier)
        assert witness.process.poll() is None


_CRASH = """
import os, signal, sys
from lineage_ledger.formats import keys
from lineage_ledger.formats.note import Cosigner, Verifier
from lineage_ledger_server.store import witness_store
from lineage_ledger_server.witness.folder import open_witness
from lineage_ledger_server.witness import witness

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

where = sys.argv[4]
if where == "before it is on record":
    witness_store._row = die
elif where == "before it signs":
    Cosigner.cosign = die
with open_witness(sys.argv[1], Cosigner(*keys.read_signing_key(sys.argv[2])), [Verifier.parse(sys.argv[3])]) as opened:
    opened.add_checkpoint(sys.stdin.buffer.read())
    die()
"""


@pytest.mark.parametrize(
    ("where", "stands_at"),
    [("before it is on record", 5), ("before it signs", 9), ("before it answers", 9)],
)
def test_killed_between_two_steps(tmp_path: Path, where: str, stands_at: int) -> None:
    key_file = tmp_path / "w.key"
    keys.write_signing_key(key_file, "w.example", keys.SigningKey.generate())
    cosigner, data = Cosigner(*keys.read_signing_key(key_file)), tmp_path / "w"
    log: Verifier = LOG.signer.verifier
    with open_witness(data, cosigner, [log]) as first:
        assert first.add_checkpoint(LOG.request(0, 5).encode()).status == 200
    program = _CRASH.replace("sys.argv[1]", "__import__('pathlib').Path(sys.argv[1])")
    command = [sys.executable, "-c", program, str(data), str(key_file), str(log), where]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    died = subprocess.run(command, input=LOG.request(5, 9).encode(), env=environment, check=False, timeout=30)
    assert died.returncode == -signal.SIGKILL
    with open_witness(data, cosigner, [log]) as again:
        assert parse_size(again.add_checkpoint(LOG.request(0, 9).encode()).body) == stands_at
        refused = again.add_checkpoint(FORK.request(stands_at, 12).encode()).status
        assert refused == (422 if stands_at == 9 else 200)
        if stands_at == 9:
            assert again.add_checkpoint(LOG.request(9, 9).encode()).status == 200


def test_killed_again_and_again_while_two_histories_race(tmp_path: Path) -> None:
    witness = RunningWitness(tmp_path / "w", LOG.signer.verifier)
    listen, url, cosigned = witness.listen, witness.url, []
    over = threading.Event()

    def submit(log: Log) -> None:
        stands_at = 0
        while not over.is_set():
            size = min(stands_at + 1, 299)
            try:
                answer = witness.post(log.request(stands_at, size).encode())
            except WebError:
                time.sleep(0.01)
                continue
            if answer.status == 200:
                read_cosignature(answer.body, log.checkpoint(size).encode(), witness.cosigner.verifier)
                cosigned.append((size, log.checkpoint(size).root))
                stands_at = size
            elif answer.status == 409:
                stands_at = min(parse_size(answer.body), 298)
            else:
                return  # the other history was first

    threads = [threading.Thread(target=submit, args=[log], daemon=True) for log in (LOG, FORK)]
    for thread in threads:
        thread.start()
    for number in range(4):
        time.sleep(0.15 + 0.07 * number)
        witness.kill()
        witness = RunningWitness(tmp_path / "w", LOG.signer.verifier, listen=listen)
        assert witness.url == url
    time.sleep(0.1)
    over.set()
    for thread in threads:
        thread.join(10)
    witness.close()
    assert len(cosigned) > 10
    assert any(all(log.checkpoint(size).root == root for size, root in cosigned) for log in (LOG, FORK))


def test_the_command(tmp_path: Path) -> None:
    key_file = tmp_path / "witness.key"
    runner = CliRunner(env={"LINEAGE_CONFIG": None})
    made = runner.invoke(lineage, ["witness", "keygen", str(key_file), "--name", "witness.example/w"])
    assert made.exit_code == 0, made.output
    vkey = made.stdout.splitlines()[-1]
    assert Verifier.parse(vkey) == Cosigner(*keys.read_signing_key(key_file)).verifier
    assert key_file.stat().st_mode & 0o777 == 0o600
    logs = tmp_path / "logs"
    serve = ["witness", "serve", "--data", str(tmp_path / "w"), "--key-file", str(key_file)]
    for content, text in ((b"# none\n", "one log"), (b"nonsense\n", "line 1"), (vkey.encode(), "type 1")):
        logs.write_bytes(content)
        refused = runner.invoke(lineage, [*serve, "--listen", "127.0.0.1:0", "--logs", str(logs)])
        assert (refused.exit_code, text in refused.stderr) == (1, True), refused.output
    beyond = runner.invoke(lineage, [*serve, "--log", str(LOG.signer.verifier), "--listen", "0.0.0.0:0"])
    assert beyond.exit_code == 1
    assert "other machines" in beyond.stderr
