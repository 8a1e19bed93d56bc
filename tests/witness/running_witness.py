"""A real `lineage witness serve` in a process of its own, and what a log sends it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from lineage_ledger.formats import keys, merkle
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Cosigner, Signer, Verifier
from lineage_ledger.formats.witness_protocol import PATH, AddCheckpoint
from lineage_ledger.web import HttpClient, HttpResponse
from lineage_ledger_server.serving.web import Listener, WebServer
from lineage_ledger_server.witness.folder import open_witness
from lineage_ledger_server.witness.http_app import make_app
from tests.support.processes import watched
from tests.trace.small_ledger import Leaves

_COMMAND = [sys.executable, "-c", "from lineage_ledger_server.cli.witness import serve; serve()"]
_READY_S = 20.0


class RunningWitness:
    """Serves on construction; `kill` is SIGKILL. Its folder and its key stay."""

    def __init__(self, folder: Path, *logs: Verifier, name: str = "witness.example/w", listen: str = "127.0.0.1:0"):
        self.folder = folder
        key_file = folder.with_suffix(".key")
        if not key_file.exists():
            keys.write_signing_key(key_file, name, keys.SigningKey.generate())
        self.cosigner = Cosigner(*keys.read_signing_key(key_file))
        self._client = HttpClient(timeout_s=10, retries=0)
        options = [option for log in logs for option in ("--log", str(log))]
        with folder.with_suffix(".log").open("ab") as log_file:
            self.process = watched(
                subprocess.Popen(
                    [*_COMMAND, "--data", str(folder), "--key-file", str(key_file), "--listen", listen, *options],
                    stdout=subprocess.PIPE,
                    stderr=log_file,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
            )
        self.policy_line = self._read_banner()
        self.url = self.policy_line.split(" ")[3]

    def _read_banner(self) -> str:
        assert self.process.stdout is not None
        text, deadline = "", time.monotonic() + _READY_S
        while time.monotonic() < deadline and "cosigning for" not in text:
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                chunk = os.read(self.process.stdout.fileno(), 65_536).decode()
                if not chunk:
                    break
                text += chunk
        if "cosigning for" in text:
            return text.splitlines()[0]
        self.close()
        raise RuntimeError(f"the witness did not start: {text}{self.folder.with_suffix('.log').read_text()[-2_000:]}")

    @property
    def listen(self) -> str:
        return self.url.removeprefix("http://")

    def post(self, body: bytes) -> HttpResponse:
        return self._client.post(self.url + PATH, body, "text/plain", 65_536)

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._client.close()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> RunningWitness:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WitnessHere:
    """A witness in a thread of this process, with a record and an address of its own; `stop` and `start` it at will."""

    def __init__(self, folder: Path, *logs: Verifier, name: str) -> None:
        self._folder, self.logs = folder, logs
        self.cosigner = Cosigner(name, keys.SigningKey.generate())
        self._life = ExitStack()
        self._listen = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        listener = Listener(self._listen)
        self._listen, self.url = listener.url.removeprefix("http://"), listener.url
        self.witness = self._life.enter_context(open_witness(self._folder, self.cosigner, self.logs))
        server = WebServer(make_app(self.witness), listener.socket)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        self._life.callback(thread.join)
        self._life.callback(server.stop)

    def stop(self) -> None:
        self._life.close()

    @property
    def policy_line(self) -> str:
        return f"witness {self.cosigner.name} {self.cosigner.verifier} {self.url}"


class Log:
    """A log of leaf hashes that can sign any of its trees; with another `salt` it is a fork of the first one."""

    def __init__(self, signer: Signer | None = None, *, salt: bytes = b"", fork_at: int = 0, size: int = 300) -> None:
        self.signer = signer or Signer("example.com/log", keys.SigningKey.generate())
        self._leaves = [
            merkle.leaf_hash((salt if index >= fork_at else b"") + index.to_bytes(8, "big")) for index in range(size)
        ]

    def checkpoint(self, size: int) -> Checkpoint:
        root = merkle.root_of(size, Leaves(self._leaves[:size])) if size else merkle.EMPTY_ROOT
        return Checkpoint(self.signer.name, size, root)

    def note(self, size: int) -> bytes:
        return self.checkpoint(size).sign(self.signer)

    def proof(self, old: int, new: int) -> tuple[bytes, ...]:
        return tuple(merkle.consistency_proof(old, new, Leaves(self._leaves[:new]))) if old else ()

    def request(self, old: int, new: int) -> AddCheckpoint:
        return AddCheckpoint(old, self.proof(old, new), self.note(new))
