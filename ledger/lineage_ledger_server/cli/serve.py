"""`lineage serve`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog

from lineage_ledger.cli.options import examples
from lineage_ledger_server.cli.stop_signals import stop_signals
from lineage_ledger_server.logs import configure_logs

if TYPE_CHECKING:
    from lineage_ledger_server.serving.http_process import HttpProcess
    from lineage_ledger_server.serving.ledger_server import LedgerServer
    from lineage_ledger_server.serving.reader_process import ReaderProcesses
    from lineage_ledger_server.serving.reader_server import ReaderServer

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    epilog=examples(
        "lineage serve --data ledger",
        "lineage serve --data ledger --readers 4 --readers-listen 127.0.0.1:7462",
        "lineage serve --data ledger --reader --listen 127.0.0.1:7462",
        "lineage serve --data ledger --http 127.0.0.1:7463",
        "lineage serve --data ledger --witness-policy witnesses.policy --require-witnesses",
        "lineage serve --data ledger --origin example.com/ledger/prod --head /mnt/other/head",
        "lineage serve --data ledger --listen 0.0.0.0:7461 --tls-cert s.pem --tls-key s.key --client-ca ca.pem",
    )
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the ledger; made on first use.",
)
@click.option(
    "--listen",
    default="127.0.0.1:7461",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to serve gRPC; port 0 takes any free one.",
)
@click.option(
    "--origin", metavar="NAME", help="Name of a new ledger, a URL without scheme such as example.com/ledger/prod."
)
@click.option(
    "--head",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the head record; on other storage it notices that the whole folder was restored from a copy.",
)
@click.option("--tls-cert", type=_FILE, help="The server's certificate (PEM).")
@click.option("--tls-key", type=_FILE, help="Its key (PEM).")
@click.option("--client-ca", type=_FILE, help="CA whose certificates clients must show (PEM).")
@click.option("--access", type=_FILE, help="Who has which role, by token or certificate (TOML).")
@click.option("--insecure", is_flag=True, help="Listen beyond loopback without TLS.")
@click.option(
    "--max-append-streams",
    default=256,
    show_default=True,
    type=click.IntRange(1, 4096),
    help="Append streams open at a time.",
)
@click.option(
    "--max-pending-mib",
    default=128,
    show_default=True,
    type=click.IntRange(8, 128),
    metavar="MIB",
    help="Memory for batches that wait to be written, over all append streams.",
)
@click.option("--reader", is_flag=True, help="Only read, beside the process that writes this ledger.")
@click.option(
    "--readers",
    default=0,
    show_default=True,
    type=click.IntRange(0, 64),
    help="Processes that serve reads beside this one, at an address of their own.",
)
@click.option(
    "--readers-listen",
    default="127.0.0.1:0",
    show_default=True,
    metavar="HOST:PORT",
    help="Where they serve, all at one address; port 0 takes any free one.",
)
@click.option(
    "--http",
    metavar="HOST:PORT",
    help="Serve the log over HTTP too (C2SP tlog-tiles), to whoever can connect; port 0 takes any free one.",
)
@click.option(
    "--witness-policy",
    type=_FILE,
    help="Witnesses who are asked to cosign every checkpoint (C2SP tlog-policy, with URLs).",
)
@click.option(
    "--require-witnesses",
    is_flag=True,
    help="Publish nothing that no quorum of the policy has cosigned; without this, publish at once.",
)
@click.option(
    "--witness-timeout-s",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0, 20, min_open=True),
    metavar="SECONDS",
    help="How long a witness may take, and how long an acknowledgement waits for a quorum.",
)
@click.option("--insecure-witnesses", is_flag=True, help="Ask witnesses beyond loopback without TLS.")
@click.option(
    "--log-format",
    type=click.Choice(["console", "json"]),
    default="console",
    show_default=True,
    help="Form of the log on standard error.",
)
def serve(
    data: Path,
    listen: str,
    origin: str | None,
    head: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    access: Path | None,
    insecure: bool,
    max_append_streams: int,
    max_pending_mib: int,
    reader: bool,
    readers: int,
    readers_listen: str,
    http: str | None,
    witness_policy: Path | None,
    require_witnesses: bool,
    witness_timeout_s: float,
    insecure_witnesses: bool,
    log_format: str,
) -> None:
    """Serve a ledger.

    Makes the ledger and its keys on first use, and prints the verifier key that clients pin.

    Listens on this machine only, unless TLS and a client CA are given. Stop it with SIGTERM or Ctrl-C: it finishes
    what it took. Readers are processes of their own on the same files; appending never waits for them. This one starts
    some and keeps them alive (--readers), or is started as one itself (--reader). HTTP (--http) is served by one more
    such process. Those that were started end with this one.
    """
    from lineage_ledger_server.serving.http_process import HttpProcess
    from lineage_ledger_server.serving.ledger_server import LedgerServer
    from lineage_ledger_server.serving.reader_process import ReaderProcesses
    from lineage_ledger_server.serving.reader_server import ReaderServer
    from lineage_ledger_server.serving.settings import ServerSettings

    configure_logs(log_format)
    settings = ServerSettings(
        data=data,
        listen=listen,
        origin=origin,
        head=head,
        tls_cert=tls_cert,
        tls_key=tls_key,
        client_ca=client_ca,
        access=access,
        insecure=insecure,
        max_append_streams=max_append_streams,
        max_pending_mib=max_pending_mib,
        witness_policy=witness_policy,
        require_witnesses=require_witnesses,
        witness_timeout_s=witness_timeout_s,
        insecure_witnesses=insecure_witnesses,
    )
    with stop_signals() as wait:
        # Bound first: an address that cannot be had leaves no ledger behind.
        beside: list[HttpProcess | ReaderProcesses] = []
        reader_processes = None
        if readers:
            reader_processes = ReaderProcesses(readers, readers_listen, settings, log_format)
            beside.append(reader_processes)
        if http is not None:
            beside.append(HttpProcess(http, settings, log_format))
        server = ReaderServer(settings) if reader else LedgerServer(settings, reader_processes)
        _serve(server, "reading" if reader else "serving", beside, wait)


def _serve(
    server: LedgerServer | ReaderServer,
    what: str,
    beside: Sequence[HttpProcess | ReaderProcesses],
    wait: Callable[[], object],
) -> None:
    """Until `wait` returns."""
    server.start()
    try:
        click.echo(f"verifier key: {server.verifier}")
        click.echo(f"{what} {server.verifier.name} on {server.address}, {server.published_size} entries")
        for processes in beside:
            processes.start()
            click.echo(processes.says)
        wait()
        structlog.get_logger(__name__).info("stopping")
    finally:
        for processes in beside:
            processes.drain()
        server.stop()
        for processes in beside:
            processes.stop()
