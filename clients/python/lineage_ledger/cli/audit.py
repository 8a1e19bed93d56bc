"""`lineage audit`: of a data folder, an exported folder, a URL or a server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click
from click.core import ParameterSource

from lineage_ledger.cli.audit_view import views
from lineage_ledger.cli.checkpoint import keep_file
from lineage_ledger.cli.options import Access, connection_options, examples, output_option, witness_policy_option
from lineage_ledger.cli.output import Output
from lineage_ledger.cli.types import FILE, parse_verifier_key, read_line
from lineage_ledger.errors import LineageError, MalformedError, SettingsError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import MAX_NOTE_BYTES, Note, Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy

if TYPE_CHECKING:
    from lineage_ledger.audit import Report, Since
    from lineage_ledger.sources.rpc import RpcSource
    from lineage_ledger.sources.tiled import TiledSource

ENTRY_POINT_GROUP: Final = "lineage_ledger.audits"
"""Audits of other distributions. `data` is that of the folder that a server writes, called as in `_audit_data`."""

_MAX_PROCESSES: Final = 64
_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    epilog="""Exit status: 0 all that could be checked is right, 1 something is wrong, 2 the audit could not be carried
out.

"""
    + examples(
        "lineage audit --data ledger --key ledger.vkey",
        "lineage audit --folder public --key ledger.vkey --checkpoint kept-last-week.txt",
        "lineage audit --url https://ledger.example.com/log --key example.com/prod+1a2b3c4d+AQ…",
        "lineage audit --server ledger.example.com:7461 --ca-file ca.pem --key ledger.vkey "
        "--witness-policy witnesses.policy",
        'lineage audit --data ledger --key "$KEY" --json | jq .findings',
    )
)
@click.option(
    "--data",
    type=_FOLDER,
    envvar="LINEAGE_DATA",
    show_envvar=True,
    help="Folder that a server writes, with its rows and indexes; it may be served. Needs lineage-ledger-server.",
)
@click.option("--folder", type=_FOLDER, help="Folder that `lineage export` wrote.")
@click.option("--url", metavar="URL", help="Where such a folder is served, or where `lineage serve --http` listens.")
@connection_options
@click.option(
    "--key",
    "--verifier-key",
    "verifier_key",
    required=True,
    metavar="VKEY",
    envvar="LINEAGE_VERIFIER_KEY",
    show_envvar=True,
    help="Verifier key of the ledger, as you pinned it: its text, or a file.",
)
@click.option(
    "--checkpoint",
    type=_FILE,
    help="A checkpoint that somebody else kept; without one nobody can tell that the newest entries were cut off.",
)
@witness_policy_option("Witnesses of which a quorum must have cosigned the ledger's checkpoint (C2SP tlog-policy).")
@click.option(
    "--head",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the head record, if it is not in the folder. With --data.",
)
@click.option("--no-index", is_flag=True, help="Leave out the derived indexes; they are not evidence. With --data.")
@click.option(
    "--since",
    type=_FILE,
    help="Where a former audit ended: what --keep wrote, and older entries are not read; or a checkpoint, and the "
    "signatures of older entries are not verified again.",
)
@click.option("--keep", type=FILE, help="File to keep where this audit ended in, for --since; if it found nothing.")
@click.option(
    "--processes",
    type=click.IntRange(1, _MAX_PROCESSES),
    metavar="N",
    help="How many share the work. [default: one for each core, at most 8, if it takes one longer than two seconds]",
)
@output_option
@click.pass_context
def audit(
    context: click.Context,
    data: Path | None,
    folder: Path | None,
    url: str | None,
    access: Access,
    verifier_key: str,
    checkpoint: Path | None,
    witness_policy: WitnessPolicy | None,
    head: Path | None,
    no_index: bool,
    since: Path | None,
    keep: Path | None,
    processes: int | None,
    out: Output,
) -> None:
    """Re-hash a whole ledger and check every link and signature.

    Give one of --data, --folder, --url and --server. Every entry, hash, seal and block is derived anew and compared
    with what is there and with what the ledger signed. What does not check is named by its index, or its tile's level
    and number. What is audited is the tree of the checkpoint that is there at the start, though it may grow meanwhile.
    """
    chosen = _chosen(context, {"data": data, "folder": folder, "url": url, "server": access.server})
    if chosen != "data" and (head is not None or no_index):
        raise click.UsageError("--head and --no-index belong to --data")
    with out.counting() as progress:
        try:
            verifier = parse_verifier_key(verifier_key)
            known_checkpoint, went_on_from = read_checkpoint(checkpoint), _since(since, verifier)
            how = _How(known_checkpoint, went_on_from, processes, witness_policy, progress)
            if chosen == "data":
                report = _audit_data(context.params["data"], head, not no_index, verifier, how)
            else:
                is_witnessed = witness_policy is not None
                opened = partial(open_source, chosen, folder, url, access, is_witnessed=is_witnessed)
                report = _audit_source(opened, verifier, how)
        except (LineageError, OSError) as error:
            from lineage_ledger.audit import Report

            report = Report(failures=[str(error)])
    report.source = f"{chosen} {context.params[chosen]}"
    if keep is not None and report.state is not None:
        keep_file(keep, report.state.encode())
    out.show(report.document(), *views(report))
    context.exit(report.exit_status)


class _How(NamedTuple):
    """What every audit is told."""

    known_checkpoint: bytes | None
    since: Since | None
    processes: int | None
    witness_policy: WitnessPolicy | None
    progress: Callable[[str, int, int], None] | None


def _audit_source(open_source: Callable[[], TiledSource | RpcSource], verifier: Verifier, how: _How) -> Report:
    from lineage_ledger.audit import audit

    show = partial(how.progress, "log") if how.progress is not None else None
    with contextlib.closing(open_source()) as source:
        return audit(
            source,
            verifier,
            how.known_checkpoint,
            show,
            since=how.since,
            processes=how.processes,
            witness_policy=how.witness_policy,
        )


def open_source(
    chosen: str, folder: Path | None, url: str | None, access: Access, *, is_witnessed: bool = False
) -> TiledSource | RpcSource:
    """What `chosen` ("folder", "url" or "server") is to be read from. Raises `LineageError`.

    `is_witnessed`: up to a checkpoint with its witnesses' cosignatures, as a folder or a URL has it anyway.
    """
    if chosen == "folder" and folder is not None:
        from lineage_ledger.sources.folder import open_folder

        return open_folder(folder)
    if chosen == "url" and url is not None:
        from lineage_ledger.sources.http import open_url

        return open_url(url, timeout_s=access.timeout_s, ca_file=access.ca_file)
    from lineage_ledger.sources.rpc import RpcSource

    return RpcSource(access.endpoint, is_witnessed=is_witnessed)


def _audit_data(data: Path, head: Path | None, with_index: bool, verifier: Verifier, how: _How) -> Report:
    """By the distribution that knows such a folder. Raises `SettingsError` if it is not installed."""
    points = entry_points(group=ENTRY_POINT_GROUP, name="data")
    if not points:
        raise SettingsError("to audit the folder that a server writes (--data), install lineage-ledger-server")
    audit_data: Callable[..., Report] = next(iter(points)).load()
    report = audit_data(
        data,
        verifier,
        how.known_checkpoint,
        how.progress,
        head=head,
        with_index=with_index,
        since=how.since,
        processes=how.processes,
        witness_policy=how.witness_policy,
    )
    if report.findings:
        _ask_about_the_key(data / "verifier.key", verifier, report)
    return report


def _ask_about_the_key(path: Path, verifier: Verifier, report: Report) -> None:
    """With the key of another ledger nothing checks; say so before somebody believes the findings."""
    with contextlib.suppress(LineageError):
        said = Verifier.parse(read_line(path))
        if said != verifier:
            report.not_checked.append(
                f"whether this is the right key: {verifier} was given, the folder says that its ledger has {said}; "
                "was it the key of another ledger?"
            )


def _chosen(context: click.Context, given: Mapping[str, object]) -> str:
    """Which source to audit: what was typed counts more than what the settings say."""
    names = [name for name, value in given.items() if value is not None]
    typed = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if len(typed or names) != 1:
        said = " and ".join(f"--{name}" for name in typed or names)
        raise click.UsageError("give one of --data, --folder, --url and --server" + (f", not {said}" if said else ""))
    return (typed or names)[0]


def _since(path: Path | None, verifier: Verifier) -> Since | None:
    from lineage_ledger.audit.state import MAX_STATE_BYTES, read_since

    data = _read(path, MAX_STATE_BYTES)
    if data is None:
        return None
    said = read_since(data, verifier)
    if isinstance(said, bytes):
        _check_form(path, said)
    return said


def read_checkpoint(path: Path | None) -> bytes | None:
    """What somebody kept; its signature is not looked at. Raises `SettingsError` if it is no checkpoint, `OSError`."""
    note = _read(path, MAX_NOTE_BYTES)
    if note is not None:
        _check_form(path, note)
    return note


def _check_form(path: Path | None, note: bytes) -> None:
    """Before hours of work: what is not a checkpoint at all is a wrong file. Raises `SettingsError`."""
    try:
        Checkpoint.parse(Note.parse(note).text)
    except MalformedError as error:
        raise SettingsError(f"{path} holds no checkpoint: {error}") from error


def _read(path: Path | None, max_bytes: int) -> bytes | None:
    """A small file. Raises `SettingsError` if it is longer, `OSError`."""
    if path is None:
        return None
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise SettingsError(f"{path} is longer than {max_bytes:,} bytes: it is not what it is given for")
    return content
