"""Runs the demo's commands: printed as a user would type them, then run as processes of their own."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import click

from lineage_ledger.errors import LineageError

COMMAND_TIMEOUT_S: Final = 120
_READY_S: Final = 30.0
_STOP_S: Final = 15.0
_SHOWN_LOG_CHARACTERS: Final = 2_000
_LINE_COLUMNS: Final = 90

# How a user types it, and what is run: the same Python, whatever is on the path.
_PROGRAMS: Final[Mapping[str, Sequence[str]]] = {
    "lineage": (sys.executable, "-m", "lineage_ledger.cli"),
    "python": (sys.executable,),
}


class DemoError(LineageError):
    """A step of the demo did not do what it should."""


class Shell:
    """Runs commands in one folder. As a context manager it ends, on leaving, whatever it started in the background."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = dict(os.environ)
        for name in [name for name in self.environment if name.startswith("LINEAGE_")]:
            del self.environment[name]  # The user's own ledger is none of the demo's business.
        if "PYTHONPATH" in self.environment:  # Relative parts would be looked for in the demo's folder.
            parts = self.environment["PYTHONPATH"].split(os.pathsep)
            self.environment["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in parts if part)
        self._background: list[Background] = []

    def run(
        self, *words: str, expected: int = 0, shown: bool = True, live: bool = False, last_lines: int | None = None
    ) -> str:
        """Run a command to its end and return what it printed; `live` gives it the terminal, and returns "".

        With `last_lines` only the first line and so many last ones are shown.

        Raises `DemoError` unless it ends with the status `expected`.
        """
        if shown:
            self._show(words)
        sys.stdout.flush()
        try:
            done = subprocess.run(
                self._command(words),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=None if live else subprocess.PIPE,
                stderr=None if live else subprocess.STDOUT,
                encoding="utf-8",
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DemoError(f"`{shlex.join(words)}` did not end within {COMMAND_TIMEOUT_S} s") from None
        printed = done.stdout or ""
        if shown or done.returncode != expected:
            lines = printed.splitlines()
            if last_lines is not None and done.returncode == expected:
                lines[1:-last_lines] = ["…"]
            click.echo("".join(f"    {line}\n" for line in lines), nl=False)
        if done.returncode != expected:
            raise DemoError(f"`{shlex.join(words)}` ended with status {done.returncode}, not {expected}")
        return printed

    def start(self, *words: str, log: str, is_ready: Callable[[], bool]) -> Background:
        """Start a server; returns when `is_ready`. Its output goes to the file `log`. Raises `DemoError`."""
        self._show(words, background=True)
        path = self.folder / log
        with path.open("ab") as file:
            process = subprocess.Popen(
                self._command(words),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                # Ctrl-C is the demo's: it stops the servers in their order.
                start_new_session=True,
            )
        started = Background(process)
        self._background.append(started)
        deadline = time.monotonic() + _READY_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                said = path.read_text(errors="replace")[-_SHOWN_LOG_CHARACTERS:]
                raise DemoError(f"`{shlex.join(words)}` did not start; it said:\n{said}")
            time.sleep(0.02)
        return started

    def _command(self, words: Sequence[str]) -> list[str]:
        return [*_PROGRAMS.get(words[0], (words[0],)), *words[1:]]

    def _show(self, words: Sequence[str], *, background: bool = False) -> None:
        text = " \\\n      ".join(_lines(_pieces(words))) + (" &" if background else "")
        click.secho(f"  $ {text}", fg="cyan")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second Ctrl-C would leave some of them running.
        try:
            for started in reversed(self._background):
                started.stop()
        finally:
            signal.signal(signal.SIGINT, before)


class Background:
    """A server that runs beside the demo."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that does not help; the exit status."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _pieces(words: Sequence[str]) -> list[str]:
    """The words quoted; an option and its value stay together."""
    pieces: list[str] = []
    for word in map(shlex.quote, words):
        if pieces and pieces[-1].startswith("-") and " " not in pieces[-1] and not word.startswith("-"):
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
    return pieces


def _lines(pieces: Sequence[str]) -> list[str]:
    """The pieces in lines that a terminal of 100 columns holds."""
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + len(piece) < _LINE_COLUMNS:
            lines[-1] += f" {piece}"
        else:
            lines.append(piece)
    return lines
