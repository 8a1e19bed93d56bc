"""A real `lineage serve` process to measure, with a producer registered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lineage_ledger import Client, SigningKey, read_signing_key
from lineage_ledger.formats import admin

_SERVE = "from lineage_ledger_server.cli.serve import serve; serve()"


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs."""

    address: str
    verifier_key: str
    origin: str
    key: SigningKey
    """Of a registered producer."""
    data: Path
    pid: int


@contextmanager
def served(
    data: Path,
    *options: str,
    command: Sequence[str] = (sys.executable, "-c", _SERVE),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """Serve the ledger in the folder `data`, which is made if it is not there; its log goes to `data`.log.

    `environment` is added to this process's own.
    """
    arguments = [*command, "--data", str(data), "--listen", "127.0.0.1:0", *options]
    variables = {**os.environ, **(environment or {})}
    with data.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True, env=variables)
    try:
        assert process.stdout is not None
        verifier_key = process.stdout.readline().removeprefix("verifier key: ").strip()
        address = process.stdout.readline().partition(" on ")[2].partition(",")[0]
        if not address:
            raise SystemExit(f"the server did not start: {data.with_suffix('.log').read_text()[-2_000:]}")
        key = SigningKey.generate()
        with Client(f"unix:{data / 'admin.sock'}", ledger=verifier_key) as client:
            client.producers_add(
                key.public_key,
                "benchmark",
                possession_signature=admin.prove_possession(client.origin, key),
                admin_key=read_signing_key(data / "keys" / "admin.key")[1],
            )
            origin = client.origin
        yield Served(address, verifier_key, origin, key, data, process.pid)
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
