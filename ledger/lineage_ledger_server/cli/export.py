"""`lineage export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from lineage_ledger.cli.options import examples, output_option
from lineage_ledger.cli.output import Fields, Output
from lineage_ledger_server.data_dir import DataDir


@click.command(
    epilog=examples(
        "lineage export --data ledger public",
        "lineage export --data ledger public --json",
        "rsync --archive --exclude checkpoint public/ web:log/",
        "rsync --archive public/checkpoint web:log/",
    )
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of the ledger. It may be served meanwhile.",
)
@click.option(
    "--head",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the head record, if it is not in the folder.",
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@output_option
def export(data: Path, head: Path | None, folder: Path, out: Output) -> None:
    """Write the log as files for any web server.

    They are those of C2SP tlog-tiles; an object store does, too. Whoever has them can audit the ledger (`lineage audit
    --folder`, `--url`), with other people's tools as well. Copy `checkpoint` last.

    A second run writes only what is new. DIR verifies at its own checkpoint at each moment, also when a run is cut
    off; the next one completes it. A folder of another ledger, or of another history of this one, is refused.
    """
    from lineage_ledger_server.static.export import export as export_log
    from lineage_ledger_server.static.published import opened

    with opened(DataDir(data, head)) as log, out.counting() as progress:
        exported = export_log(log, folder, progress)
    out.show(
        {**asdict(exported), "entries_per_second": exported.entries_per_second},
        Fields(
            [
                ("origin", exported.origin),
                ("entries", f"{exported.size:,}"),
                ("new", f"{exported.size - exported.old_size:,}"),
                ("files written", f"{exported.files_written:,}, {exported.bytes_written:,} bytes"),
                ("files removed", f"{exported.files_removed:,}"),
                ("took", f"{exported.seconds:.1f} s, {exported.entries_per_second:,.0f} entries/s"),
            ]
        ),
    )
