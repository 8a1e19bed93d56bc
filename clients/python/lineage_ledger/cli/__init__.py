"""The command `lineage` (extra `cli`): keys, producers, recording, reading, proving. `app` puts it together."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Entry point of the command. Says what to install if the extra `cli` is missing."""
    for name in ("click", "rich"):  # rich is imported when something is drawn, which is too late to say so
        if find_spec(name) is None:
            print(f"error: the command needs {name}: install lineage-ledger[cli]", file=sys.stderr)
            sys.exit(2)
    from lineage_ledger.cli.app import lineage

    # Names may hold characters that the terminal's encoding lacks.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    lineage(prog_name="lineage")
