"""A guide's blocks as one shell script, so that what it says can be run from top to bottom."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[2] / "docs"

_BLOCK = re.compile(r"(?:<!-- file: (\S+) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LISTENING = re.compile(r"(?:--(?:readers-)?listen \S+:|--port )(\d+)")
_TIMEOUT_S = 60


class Block(NamedTuple):
    """What stands between two fences."""

    language: str
    file: str
    """The file that the reader puts it into; empty for what is run."""
    text: str


def blocks(markdown: str) -> list[Block]:
    """All fenced blocks, in order."""
    return [Block(language, file, text) for file, language, text in _BLOCK.findall(markdown)]


def script(markdown: str) -> str:
    """A shell script that does what a reader of the guide does. Raises `AssertionError` for a block nobody runs."""
    lines = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT"]
    for block in blocks(markdown):
        if block.file:
            lines.append(f"printf %s {shlex.quote(block.text)} > {block.file}")
        elif block.language == "console":
            lines += _commands(block.text)
        elif block.language == "python":
            lines += [f"echo {shlex.quote(block.text.splitlines()[0])}", f"python -c {shlex.quote(block.text)}"]
        else:
            raise AssertionError(f"a block of {block.language or 'nothing'} that is neither run nor a file")
    return "\n".join(lines)


def _commands(text: str) -> Iterator[str]:
    """The commands, each said before it runs; what runs in the background is waited for until it listens."""
    for line in text.replace("\\\n", " ").splitlines():
        yield f"echo {shlex.quote('$ ' + line)}"
        yield line
        if line.split(" #")[0].rstrip().endswith("&"):
            ports = _LISTENING.findall(line)
            assert ports, f"say where it listens: {line}"
            for port in ports:
                yield f"until (: < /dev/tcp/127.0.0.1/{port}) 2>/dev/null; do kill -0 $!; sleep 0.02; done"


def run(markdown: str, folder: Path, replaced: Mapping[str, str]) -> str:
    """Run a guide in an empty folder, with ports of its own; what it printed. Raises `AssertionError` if it fails.

    `replaced`: what is another on this machine, such as host names.
    """
    ports = {port: str(free_port()) for port in sorted(set(re.findall(r"(?<=:)[78]\d{3}\b|(?<=--port )\d+", markdown)))}
    for old, new in {**replaced, **ports}.items():
        markdown = markdown.replace(old, new)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LINEAGE_")}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment["PATH"]))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    bash = shutil.which("bash")
    assert bash is not None
    process = subprocess.Popen(
        [bash, "-c", script(markdown)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=_TIMEOUT_S)
    finally:
        with suppress(ProcessLookupError):  # What it started and did not end, if it hung.
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, printed[-4_000:]
    return printed


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def tables(markdown: str, heading: str) -> list[list[str]]:
    """The rows of all tables below a heading, down to the next one; the cells as they are written."""
    section = markdown.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
