"""`lineage index`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from lineage_ledger.cli.options import examples, output_option
from lineage_ledger.cli.output import Fields, Output
from lineage_ledger.cli.text import byte_size
from lineage_ledger_server.data_dir import DataDir


@click.group()
def index() -> None:
    """Look after the indexes, which are made from the log and can always be made again."""


@index.command(epilog=examples("lineage index rebuild --data ledger", "lineage index rebuild --data ledger --json"))
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of the ledger, which must not be served meanwhile.",
)
@click.option(
    "--head",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the head record, if it is not in the folder.",
)
@output_option
def rebuild(data: Path, head: Path | None, out: Output) -> None:
    """Make the indexes again from the log.

    A server does so by itself if they are missing or damaged, while it serves; this is for when it should be done
    before it starts. It needs as much room as the indexes take. A run that was ended goes on when it is started again.
    """
    from lineage_ledger_server.index.rebuild import rebuild as rebuild_indexes

    with out.counting() as progress:
        show = None if progress is None else (lambda done, size: progress("indexing", done, size))
        rebuilt = rebuild_indexes(DataDir(data, head), show)
    out.show(
        {**asdict(rebuilt), "entries_per_second": rebuilt.entries_per_second},
        Fields(
            [
                ("origin", rebuilt.origin),
                ("entries", f"{rebuilt.size:,}"),
                ("indexed before", f"{rebuilt.old_size:,}"),
                ("indexes on disk", byte_size(rebuilt.index_bytes)),
                ("took", f"{rebuilt.seconds:.1f} s, {rebuilt.entries_per_second:,.0f} entries/s"),
            ]
        ),
    )
