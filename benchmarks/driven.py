"""Processes that do what they are told: a line of JSON to standard input, a line of JSON back when it is done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from benchmarks.served import Served
from lineage_ledger import SigningKey

_END_S = 20.0


class Driven:
    """`python -m MODULE` from construction on; its first command is the server that it is for."""

    def __init__(self, module: str, server: Served) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.tell(
            address=server.address,
            verifier_key=server.verifier_key,
            origin=server.origin,
            seed=server.key.seed.hex(),
        )

    def tell(self, **command: object) -> None:
        """Have it begin; `answer` waits for the end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Mapping[str, Any]:
        """What the oldest command that has no answer yet came to. Ends the benchmark if the process is gone."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a process of the benchmark ended with status {self._process.wait()}")
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def ask(self, **command: object) -> Mapping[str, Any]:
        """`tell` and `answer`."""
        self.tell(**command)
        return self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def commands() -> Iterator[dict[str, Any]]:
    """In the process: what it is told, one after the other."""
    for line in sys.stdin:
        yield json.loads(line)


def done(**answer: object) -> None:
    """In the process: a command's answer."""
    print(json.dumps(answer), flush=True)


def server_of(command: Mapping[str, Any]) -> Served:
    """In the process: the server of the first command; where its files are, it is not told."""
    from pathlib import Path

    key = SigningKey.from_seed(bytes.fromhex(command["seed"]))
    return Served(command["address"], command["verifier_key"], command["origin"], key, Path(), 0)
