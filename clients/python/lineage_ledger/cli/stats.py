"""`lineage stats`: how the ledger is doing."""

from __future__ import annotations

from typing import Any

import click

from lineage_ledger.cli.options import Access, access_options, examples, output_option
from lineage_ledger.cli.output import Fields, Output
from lineage_ledger.cli.text import byte_size
from lineage_ledger.formats.describe import format_time
from lineage_ledger.v1 import admin_pb2


@click.command(epilog=examples("lineage stats --data ledger", "lineage stats --data ledger --json"))
@access_options
@output_option
def stats(access: Access, out: Output) -> None:
    """Show how much is in the ledger and whether it takes more. Needs the admin role, or --data."""
    with access.client() as client:
        answer = client.statistics()
    out.show(document(answer), Fields(rows(answer)))


def document(answer: admin_pb2.GetStatisticsResponse) -> dict[str, Any]:
    """All figures as plain data; names as in admin.proto, the time as RFC 3339."""
    found = {field.name: getattr(answer, field.name) for field in answer.DESCRIPTOR.fields}
    for name in ("log_use", "index_use", "index_work"):
        found[name] = _uses(found[name])
    found["block_time"] = format_time(found.pop("block_time_unix_ns"))
    found["witnesses"] = [
        {"name": one.name, "size": one.size, "time": _time(one), "error": one.error} for one in answer.witnesses
    ]
    return found


def rows(answer: admin_pb2.GetStatisticsResponse) -> list[tuple[str, str]]:
    """All figures for people, with their units."""
    lag = max(0, answer.tree_size - answer.indexed_size)
    filled = 100 * answer.log_bytes / answer.log_map_bytes if answer.log_map_bytes else 0.0
    return [
        ("origin", answer.origin),
        ("entries", f"{answer.tree_size:,}"),
        ("newest block", f"{answer.block_number:,}, {format_time(answer.block_time_unix_ns)}"),
        ("predictions", f"{answer.predictions:,}"),
        ("declared lost", f"{answer.lost:,}"),
        ("producers", f"{answer.producers:,}"),
        ("chains", f"{answer.chains:,}"),
        ("batches", f"{answer.batches:,}"),
        ("indexes behind by", f"{lag:,} entries{f'; {answer.index_error}' if answer.index_error else ''}"),
        ("indexing", _work(answer.index_work)),
        ("log on disk", f"{byte_size(answer.log_bytes)}, {filled:.1f}% of {byte_size(answer.log_map_bytes)}"),
        *_use_rows(answer.log_use, answer.tree_size),
        ("indexes on disk", byte_size(answer.index_bytes)),
        *_use_rows(answer.index_use, answer.tree_size),
        ("oldest read", f"{answer.oldest_read_commits:,} commits ago" if answer.oldest_read_commits else "none"),
        ("append streams", f"{answer.append_streams:,} of {answer.max_append_streams:,}"),
        ("batches in memory", f"{byte_size(answer.pending_bytes)} of {byte_size(answer.max_pending_bytes)}"),
        ("memory", byte_size(answer.memory_bytes)),
        ("readers", f"{answer.readers_serving:,} of {answer.readers:,}"),
        ("takes entries", "yes" if answer.writable else f"no: {answer.not_writable_reason}"),
        ("kernel", answer.kernel),
        *_witness_rows(answer),
    ]


def _work(work: admin_pb2.IndexWork) -> str:
    return (
        f"{work.entries:,} entries in {work.commits:,} commits, {work.busy_us / 1e6:,.1f} s; "
        f"{work.merged_rows:,} rows merged in {work.merge_us / 1e6:,.1f} s"
    )


def _uses(use: admin_pb2.LogUse | admin_pb2.IndexUse | admin_pb2.IndexWork) -> dict[str, int]:
    return {field.name: getattr(use, field.name) for field in use.DESCRIPTOR.fields}


def _use_rows(use: admin_pb2.LogUse | admin_pb2.IndexUse, entries: int) -> list[tuple[str, str]]:
    return [
        (f"- {name.replace('_', ' ')}", f"{byte_size(size)}, {size / max(1, entries):.1f} bytes an entry")
        for name, size in _uses(use).items()
    ]


def _witness_rows(answer: admin_pb2.GetStatisticsResponse) -> list[tuple[str, str]]:
    if not answer.witnesses:
        return []
    behind = max(0, answer.tree_size - answer.witnessed_size)
    rule = "published is only what they cosigned" if answer.witnesses_required else "published without waiting for them"
    rows = [("witnessed", f"{answer.witnessed_size:,} entries, {behind:,} behind; {rule}")]
    for one in answer.witnesses:
        cosigned = f"{one.size:,} entries at {_time(one)}" if one.size else "nothing since the start"
        rows.append((f"witness {one.name}", f"{cosigned}{f'; now: {one.error}' if one.error else ''}"))
    return rows


def _time(witness: admin_pb2.Witness) -> str:
    return format_time(witness.time_unix_ns) if witness.time_unix_ns else ""
