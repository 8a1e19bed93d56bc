"""`lineage demo`."""

from __future__ import annotations

import os
import signal
import time
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import click

_NEEDED = ("httpx", "sklearn", "starlette", "uvicorn")


@click.command(
    epilog="""\b
Examples:
  lineage demo
  lineage demo --dir /tmp/first-look --requests 10000
"""
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to make; it must be empty or not be there. [default: lineage-demo, or lineage-demo-2, …]",
)
@click.option(
    "--requests",
    default=3_000,
    show_default=True,
    type=click.IntRange(512, 1_000_000),
    help="How many requests to send to the model server.",
)
def demo(folder: Path | None, requests: int) -> None:
    """Train, serve, trace, prove and audit a real model.

    Everything runs on this machine: a ledger, a training on a dataset that scikit-learn ships, a model server, and
    real requests to it. Each command is printed before it runs. The folder is left for you to look at.
    """
    from lineage_ledger.errors import LineageError

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"the demo needs {', '.join(missing)}: run pip install 'lineage-ledger-server[demo]'"
        )
    folder = new_folder(folder)
    from lineage_ledger_server.demo.shell import Shell
    from lineage_ledger_server.demo.story import Story

    # Ended like by Ctrl-C: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started_s = time.monotonic()
    try:
        with Shell(folder.absolute()) as shell:
            Story(shell, requests).tell()
    except KeyboardInterrupt:
        raise click.ClickException(f"interrupted; {folder} holds what was made until then") from None
    except (LineageError, OSError) as error:
        raise click.ClickException(f"the demo failed: {error}\n{folder} holds what was made until then") from error
    click.echo(f"\n{time.monotonic() - started_s:.0f} s")


def new_folder(wanted: Path | None) -> Path:
    """An empty folder, made if need be: the one that is wanted, or the first of its name that is free.

    Raises `click.ClickException`.
    """
    names = (Path("lineage-demo" if number == 1 else f"lineage-demo-{number}") for number in count(1))
    folder = wanted or next(name for name in names if not os.path.lexists(name))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = next(folder.iterdir(), None) is None
    except OSError as error:
        raise click.ClickException(f"cannot make the folder {folder}: {error.strerror}") from error
    if not is_empty:
        raise click.ClickException(f"{folder} is not empty: choose another folder with --dir, or remove it")
    return folder
