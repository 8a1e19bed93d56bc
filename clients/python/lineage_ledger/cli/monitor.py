"""`lineage monitor`: watches one or many ledgers."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from lineage_ledger.cli.options import Access, connection_options, examples, output_option
from lineage_ledger.cli.output import Failure, Output, Table, Unchecked
from lineage_ledger.cli.types import FILE, VERIFIER_KEY, WITNESS_POLICY, parse_verifier_key, read_witness_policy
from lineage_ledger.errors import LineageError, SettingsError
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy

if TYPE_CHECKING:
    from lineage_ledger.monitor.view import Watched
    from lineage_ledger.sources.rpc import RpcSource
    from lineage_ledger.sources.tiled import TiledSource

_MAX_PROCESSES: Final = 64
_SOURCES: Final = ("server", "url", "folder")
_TEXTS: Final = frozenset(
    {"name", *_SOURCES, "verifier_key", "witness_policy", "token", "token_file", "ca_file"}
    | {"certificate_file", "client_key_file"}
)
_NUMBERS: Final = frozenset({"timeout_s", "max_block_age_s"})
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@click.command(
    epilog="""Exit status, with --once: 0 all is right, 1 a ledger failed, 2 one could not be checked.

"""
    + examples(
        "lineage monitor --state monitor --server ledger.example.com:7461 --ca-file ca.pem --key ledger.vkey",
        "lineage monitor --state monitor --url https://ledger.example.com/log --key ledger.vkey --once",
        "lineage monitor --state monitor --webhook https://alerts.example.com/ledger --metrics 127.0.0.1:9461",
    )
    + """

\b
Many ledgers are tables of the settings file:
  [[monitor.ledger]]
  name = "prod"
  server = "ledger.example.com:7461"
  verifier_key = "prod.vkey"
  ca_file = "ca.pem"
"""
)
@click.option("--state", type=_FOLDER, required=True, help="Folder that remembers what was seen; made on first use.")
@click.option("--folder", type=_FOLDER, help="Folder that `lineage export` writes.")
@click.option("--url", metavar="URL", help="Where such a folder is served, or where `lineage serve --http` listens.")
@connection_options
@click.option(
    "--key",
    "--verifier-key",
    "verifier_key",
    type=VERIFIER_KEY,
    metavar="VKEY",
    envvar="LINEAGE_VERIFIER_KEY",
    show_envvar=True,
    help="Verifier key of the ledger, as you pinned it: its text, or a file.",
)
@click.option(
    "--witness-policy",
    type=WITNESS_POLICY,
    metavar="FILE",
    help="Witnesses that must have cosigned what the ledger shows (C2SP tlog-policy).",
)
@click.option("--once", is_flag=True, help="One round, for cron.")
@click.option(
    "--interval-s",
    type=click.FloatRange(0.1, 86_400),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between rounds.",
)
@click.option(
    "--max-block-age-s",
    type=click.FloatRange(0, min_open=True),
    default=180.0,
    show_default=True,
    metavar="SECONDS",
    help="A ledger whose newest block is older shows a stale view.",
)
@click.option(
    "--unreachable-after-s",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a ledger may be out of reach before that is an alarm.",
)
@click.option(
    "--webhook", metavar="URL", help="Where failures are sent (POST, JSON), each once for as long as it lasts."
)
@click.option(
    "--webhook-ca-file", type=FILE, help="Authority of the webhook's certificate (PEM). [default: the system's]"
)
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    help="Serve metrics for Prometheus, to whoever can connect. A port alone is on loopback, 0 any free one.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, _MAX_PROCESSES),
    default=1,
    show_default=True,
    metavar="N",
    help="How many share the audit of one ledger's new entries.",
)
@output_option
@click.pass_context
def monitor(
    context: click.Context,
    state: Path,
    folder: Path | None,
    url: str | None,
    access: Access,
    verifier_key: Verifier | None,
    witness_policy: WitnessPolicy | None,
    once: bool,
    interval_s: float,
    max_block_age_s: float,
    unreachable_after_s: float,
    webhook: str | None,
    webhook_ca_file: Path | None,
    metrics: str | None,
    processes: int,
    out: Output,
) -> None:
    """Watch ledgers: is what they show one history, and right?

    Each round fetches the newest checkpoint, has it proven to go on from the one before, re-hashes and re-checks all
    new entries as an audit does, and looks at the time of the newest block. What it saw is kept in --state, so that a
    restart goes on where it stopped. A failure is logged, its evidence kept there, and sent to --webhook.

    Watch from a machine that the ledger's operator does not run. Logs go to standard error, one JSON object a line.
    """
    from lineage_ledger.monitor.monitor import Monitor
    from lineage_ledger.monitor.view import Watched
    from lineage_ledger.monitor.webhook import Webhook

    if out.as_json and not once:
        raise click.UsageError("--json prints the document of one round: give --once; the log is JSON anyway")
    with _unchecked(out, once=once):
        address = None if metrics is None else _address(metrics)
        sources = {"server": access.server, "url": url, "folder": folder}
        is_typed = any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in _SOURCES)
        tables = None if is_typed else (context.default_map or {}).get("ledger")
        if tables is None:
            if verifier_key is None:
                raise click.UsageError(
                    "the ledger's verifier key is needed: give --key, the line that `lineage serve` prints"
                )
            chosen = _chosen(context, sources)
            ledgers = [
                Watched(
                    verifier_key.name,
                    verifier_key,
                    partial(_open, chosen, str(sources[chosen]), access, witness_policy is not None),
                    max_block_age_s,
                    witness_policy,
                    processes,
                )
            ]
        else:
            defaults = {"max_block_age_s": max_block_age_s, "timeout_s": access.timeout_s}
            ledgers = [_watched(number, table, defaults, processes) for number, table in enumerate(_list(tables))]
        stopped = threading.Event()
        hook = None if webhook is None else Webhook(webhook, stopped, ca_file=webhook_ca_file)
        watching = Monitor(ledgers, state, stopped, interval_s=interval_s, webhook=hook, patience_s=unreachable_after_s)
        if address is not None:
            port = watching.metrics.serve(*address)
            out.remark(f"metrics on http://{address[0]}:{port}/metrics")
    if once:
        with _unchecked(out, once=once):
            status = watching.once()
        rows = [
            (
                name,
                f"{found.checkpoint.size:,}" if found.checkpoint is not None else "",
                f"{found.entries:,}",
                ", ".join(failure.kind for failure in found.failures) or "all is right",
            )
            for name, found in sorted(watching.newest.items())
        ]
        document = {"ledgers": {name: found.document() for name, found in sorted(watching.newest.items())}}
        out.show(document | {"exit_status": status}, Table(("ledger", "entries", "checked now", "found"), rows))
        context.exit(status)
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda *_: stopped.set())
    watching.run()


@contextlib.contextmanager
def _unchecked(out: Output, *, once: bool) -> Iterator[None]:
    """With --once, 1 says that a ledger failed; what keeps the round from being done must not."""
    try:
        yield
    except LineageError as error:
        raise (Unchecked if once else Failure)(error, as_json=out.as_json) from error


def _chosen(context: click.Context, sources: Mapping[str, object]) -> str:
    """The one source that was given; what was typed counts more than what the settings say."""
    names = [name for name, value in sources.items() if value is not None]
    typed = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if len(typed or names) != 1:
        said = " and ".join(f"--{name}" for name in typed or names)
        raise click.UsageError(
            "say what to watch: one of --server, --url and --folder, or tables [[monitor.ledger]] in the settings file"
            + (f", not {said}" if said else "")
        )
    return (typed or names)[0]


def _open(chosen: str, place: str, access: Access, is_witnessed: bool) -> TiledSource | RpcSource:
    """A checkpoint with its witnesses' cosignatures, if they are wanted, is what a log's files have anyway."""
    if chosen == "folder":
        from lineage_ledger.sources.folder import open_folder

        return open_folder(Path(place))
    if chosen == "url":
        from lineage_ledger.sources.http import open_url

        return open_url(place, timeout_s=access.timeout_s, ca_file=access.ca_file)
    from lineage_ledger.sources.rpc import RpcSource

    return RpcSource(access.endpoint, is_witnessed=is_witnessed)


def _list(tables: Any) -> list[Any]:
    if not isinstance(tables, list) or not tables:
        raise SettingsError("the ledgers to watch are tables of the settings file: write [[monitor.ledger]]")
    return tables


def _watched(number: int, table: Any, defaults: Mapping[str, float], processes: int) -> Watched:
    """A table of the settings file. Raises `SettingsError`."""
    from lineage_ledger.monitor.view import Watched

    where = f"ledger {number + 1} of [[monitor.ledger]]"
    if not isinstance(table, dict):
        raise SettingsError(f"{where} is not a table")
    if unknown := table.keys() - _TEXTS - _NUMBERS:
        raise SettingsError(f"{where} has no setting {min(unknown)!r}")
    for name, value in table.items():
        is_right = isinstance(value, str) and value if name in _TEXTS else type(value) in (int, float) and value > 0
        if not is_right:
            raise SettingsError(f"{name} of {where} must be {'text' if name in _TEXTS else 'a number above 0'}")
    chosen = [name for name in _SOURCES if name in table]
    if len(chosen) != 1 or "verifier_key" not in table:
        raise SettingsError(f"{where} needs verifier_key, and one of server, url and folder")
    values = {**defaults, **table}
    paths = {
        name: Path(table[name]) if name in table else None
        for name in ("token_file", "ca_file", "certificate_file", "client_key_file")
    }
    access = Access(
        server=table.get("server"),
        data=None,
        verifier_key=None,
        token=table.get("token"),
        timeout_s=values["timeout_s"],
        **paths,
    )
    verifier = parse_verifier_key(table["verifier_key"])
    policy = read_witness_policy(table["witness_policy"]) if "witness_policy" in table else None
    opened = partial(_open, chosen[0], table[chosen[0]], access, policy is not None)
    name = table.get("name", verifier.name)
    return Watched(name, verifier, opened, values["max_block_age_s"], policy, processes)


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65_535 or (separator and not host):
        raise click.UsageError(f"--metrics must be HOST:PORT, or a port of this machine, not {text!r}")
    return (host or "127.0.0.1").strip("[]"), int(port)
