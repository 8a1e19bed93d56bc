"""`lineage witness`: a witness of one's own, for whatever logs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click

from lineage_ledger.cli.options import examples, output_option
from lineage_ledger.cli.output import Fields, Output
from lineage_ledger.cli.types import FILE, VERIFIER_KEY
from lineage_ledger.errors import LineageError, SettingsError
from lineage_ledger.formats.keys import SigningKey, read_signing_key, write_signing_key
from lineage_ledger.formats.note import Cosigner, Verifier
from lineage_ledger_server.cli.stop_signals import stop_signals
from lineage_ledger_server.logs import configure_logs

_MAX_LOGS_BYTES = 1 << 20


@click.group(
    epilog=examples(
        "lineage witness keygen witness.key --name witness.example.com/w1",
        "lineage witness serve --data witness --key-file witness.key --log ledger.vkey",
    )
)
def witness() -> None:
    """Run a witness, which cosigns checkpoints.

    It cosigns for ledgers as long as they only grow (C2SP tlog-witness): they cannot show different people different
    histories then. A witness is worth something if it is not run by those who run the ledger, and never loses its
    folder.
    """


@witness.command(epilog=examples("lineage witness keygen witness.key --name witness.example.com/w1"))
@click.argument("file", type=FILE, default="witness.key", metavar="[FILE]")
@click.option("--name", required=True, help="Name of the witness: a URL without scheme, such as witness.example/w1.")
@output_option
def keygen(file: Path, name: str, out: Output) -> None:
    """Make a witness' signing key.

    Writes it to FILE (default: witness.key), mode 0600, and prints its verifier key, which policies list. An existing
    file is never overwritten. It is for this witness alone: no other may use the same key.
    """
    key = SigningKey.generate()
    write_signing_key(file, name, key)
    verifier = str(Cosigner(name, key).verifier)
    document = {"key_file": str(file), "name": name, "verifier_key": verifier}
    out.show(document, Fields([("key file", str(file)), ("name", name)]), (("verifier key:", "dim"),))
    out.raw(verifier)


@witness.command(
    epilog=examples(
        "lineage witness serve --data witness --key-file witness.key --log ledger.vkey",
        "lineage witness serve --data witness --key-file witness.key --logs logs.txt "
        "--listen 0.0.0.0:443 --tls-cert w.pem --tls-key w.key",
    )
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of what it has cosigned; made on first use. A witness that loses it is one no longer.",
)
@click.option("--key-file", type=FILE, required=True, help="Its signing key, as `lineage witness keygen` made it.")
@click.option(
    "--log", "logs", type=VERIFIER_KEY, multiple=True, metavar="VKEY", help="Key of a log to cosign for; repeatable."
)
@click.option("--logs", "logs_file", type=FILE, help="File of such keys, one a line; lines that begin with # are not.")
@click.option(
    "--listen",
    default="127.0.0.1:7463",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to serve HTTP; port 0 takes any free one.",
)
@click.option("--tls-cert", type=FILE, help="The server's certificate (PEM); turns TLS on.")
@click.option("--tls-key", type=FILE, help="Its key (PEM).")
@click.option("--insecure", is_flag=True, help="Listen beyond loopback without TLS.")
@click.option(
    "--log-format",
    type=click.Choice(["console", "json"]),
    default="console",
    show_default=True,
    help="Form of the log on standard error.",
)
def serve(
    data: Path,
    key_file: Path,
    logs: tuple[Verifier, ...],
    logs_file: Path | None,
    listen: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure: bool,
    log_format: str,
) -> None:
    """Serve a witness, and print the line of a policy that names it.

    Each log is believed from the first checkpoint that it sends. From then on nothing is cosigned that does not go on
    from what was cosigned last, and nothing is answered before it is on record. Stop it with SIGTERM or Ctrl-C.
    """
    from lineage_ledger_server.serving.web import Listener, TlsFiles, WebServer
    from lineage_ledger_server.witness.folder import open_witness
    from lineage_ledger_server.witness.http_app import make_app

    configure_logs(log_format)
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("TLS needs both --tls-cert and --tls-key")
    keys = [*logs, *(_read_logs(logs_file) if logs_file is not None else ())]
    cosigner = Cosigner(*read_signing_key(key_file))
    listener = Listener(listen, TlsFiles(tls_cert, tls_key) if tls_cert and tls_key else None, insecure=insecure)
    with stop_signals() as wait, closing(listener), open_witness(data, cosigner, keys) as opened:
        server = WebServer(make_app(opened), listener.socket, listener.tls)
        thread = threading.Thread(target=server.run, name="http", daemon=True)
        thread.start()
        click.echo(f"witness {cosigner.name.replace('/', '-')} {opened.verifier} {listener.url}")
        click.echo(f"cosigning for {', '.join(opened.origins)} on {listener.url}")
        wait()
        server.stop()
        thread.join()


def _read_logs(path: Path) -> Iterator[Verifier]:
    """Raises `SettingsError`, which names the line."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_LOGS_BYTES + 1)
        if len(content) > _MAX_LOGS_BYTES:
            raise SettingsError(f"{path} has more than {_MAX_LOGS_BYTES:,} bytes")
        lines = content.decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the keys in {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            try:
                yield Verifier.parse(line.strip())
            except LineageError as error:
                raise SettingsError(f"{path}, line {number}: {error}") from error
