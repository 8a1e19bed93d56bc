"""Environments of peers, under .cache/peers: made once, with the versions that the peers' modules name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.contract import NotRunError, Peer

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "peers"
# There if an environment is complete; in it is what the environment was made from.
_INSTALLED = "installed"
# There if it could not be made; in it is why, so that only --install tries again.
_REFUSED = "refused"


def environment_of(peer: Peer) -> Path:
    """Where a peer's environment is, or would be."""
    return FOLDER / peer.name


def python_of(environment: Path) -> Path:
    """The Python of an environment."""
    return environment / "bin" / "python"


def prepare(peer: Peer, *, again: bool = False) -> Path:
    """A peer's environment, made now if it is not there or `again` is set. Raises `NotRunError`."""
    environment = environment_of(peer)
    made_from = "\n".join(peer.requirements)
    if not again and _says(environment / _INSTALLED) == made_from:
        return environment
    refused = _says(environment / _REFUSED)
    if not again and refused is not None and refused.startswith(made_from + "\n\n"):
        raise NotRunError(refused.removeprefix(made_from + "\n\n"))
    print(f"installing {peer.name} in {environment.relative_to(ROOT)}", file=sys.stderr)
    environment.mkdir(parents=True, exist_ok=True)
    try:
        _install(peer, environment)
    except NotRunError as error:
        (environment / _REFUSED).write_text(f"{made_from}\n\n{error}", encoding="utf-8")
        raise
    (environment / _REFUSED).unlink(missing_ok=True)
    (environment / _INSTALLED).write_text(made_from, encoding="utf-8")
    return environment


def _says(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _install(peer: Peer, environment: Path) -> None:
    (environment / _INSTALLED).unlink(missing_ok=True)
    call([sys.executable, "-m", "venv", environment])
    call([python_of(environment), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements])
    if peer.install is not None:
        peer.install(environment)


def call(command: list[str | Path], *, step: str = "installing", **variables: str) -> None:
    """Runs a step of an installation to its end. Raises `NotRunError` with what it said last."""
    if shutil.which(command[0]) is None:
        raise NotRunError(f"{command[0]} is not on this machine")
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **variables}, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        said = " ".join(" ".join(lines[-2:]).split())
        program = Path(command[0]).name
        # Addresses of registries are of no use to who reads a report.
        raise NotRunError(f"{step} failed: {program} said: {re.sub(r'https?://[^ ]*[^ :]', 'REGISTRY', said)[-300:]}")
