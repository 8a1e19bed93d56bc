"""A real `lineage serve` in a process of its own."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import watched

_COMMAND = [sys.executable, "-c", "from lineage_ledger_server.cli.serve import serve; serve()"]
_READY_S = 20.0


class RunningServer:
    """Serves the ledger in `data` from construction on; `kill` is SIGKILL, `stop` SIGTERM.

    Its log goes to `log_file`, `data`.log if that is not given.
    """

    def __init__(
        self,
        data: Path,
        *options: str,
        listen: str = "127.0.0.1:0",
        prefix: Sequence[str] = (),
        log_file: Path | None = None,
    ) -> None:
        self.data = data
        started = time.monotonic()
        with (log_file or data.with_suffix(".log")).open("ab") as log:
            self.process = watched(
                subprocess.Popen(
                    [*prefix, *_COMMAND, "--data", str(data), "--listen", listen, *options],
                    stdout=subprocess.PIPE,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
            )
        self._awaits_http, self._awaits_readers = "--http" in options, "--readers" in options
        self.http_url = self.readers_address = ""
        self.address, self.verifier_key = self._read_banner()
        self.start_s = time.monotonic() - started

    def _read_banner(self) -> tuple[str, str]:
        assert self.process.stdout is not None
        text, deadline = "", time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                chunk = os.read(self.process.stdout.fileno(), 65_536).decode()
                if not chunk:
                    break
                text += chunk
            found = re.search(r"verifier key: (\S+)\n(?:serving|reading) \S+ on (\S+), ", text)
            http = re.search(r"serving the log on (\S+)\n", text)
            readers = re.search(r"\d+ readers? on (\S+)\n", text)
            if found and (http or not self._awaits_http) and (readers or not self._awaits_readers):
                self.readers_address = readers[1] if readers else ""
                self.http_url = http[1] if http else ""
                return found[2], found[1]
        self.close()
        log = self.data.with_suffix(".log")
        raise RuntimeError(f"the server did not start: {text}{log.read_text()[-2_000:] if log.exists() else ''}")

    @property
    def origin(self) -> str:
        return self.verifier_key.split("+")[0]

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def stop(self, timeout_s: float = 20.0) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        finally:
            self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
