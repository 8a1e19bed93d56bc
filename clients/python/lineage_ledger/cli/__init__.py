"""The command `lineage` (extra `cli`): keys, producers, recording, reading, proving. `app` puts it together."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the command. Says what to install if the extra `cli` is missing."""
    try:
        from lineage_ledger.cli.app import lineage
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        print(f"error: the command needs {error.name}: install lineage-ledger[cli]", file=sys.stderr)
        sys.exit(2)
    # Names may hold characters that the terminal's encoding lacks.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    lineage(prog_name="lineage")
