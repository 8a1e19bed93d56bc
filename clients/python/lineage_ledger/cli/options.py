"""Options that several commands have: where the ledger is, with which key to trust it, and how to print."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import click

from lineage_ledger.cli.output import Output
from lineage_ledger.cli.types import FILE, FOLDER, VERIFIER_KEY, WITNESS_POLICY, read_line
from lineage_ledger.errors import SettingsError
from lineage_ledger.formats.keys import SigningKey, read_signing_key
from lineage_ledger.formats.note import Verifier

if TYPE_CHECKING:
    from lineage_ledger.client import Client
    from lineage_ledger.rpc.connection import Connection
    from lineage_ledger.rpc.endpoint import Endpoint

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_EXAMPLE_COLUMNS: Final = 72
_DEFAULT_SERVER: Final = "127.0.0.1:7461"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a ledger and how to trust it."""

    server: str | None
    data: Path | None
    verifier_key: Verifier | None
    token: str | None = field(repr=False)
    token_file: Path | None
    ca_file: Path | None
    certificate_file: Path | None
    client_key_file: Path | None
    timeout_s: float
    checkpoint_file: Path | None = None

    @property
    def verifier(self) -> Verifier:
        """The pinned key. Raises `click.UsageError` if there is none: nothing is believed without it."""
        if self.verifier_key is not None:
            return self.verifier_key
        if self.data is not None:
            return Verifier.parse(read_line(self.data / "verifier.key"))
        raise click.UsageError(
            "the ledger's verifier key is needed, to check what the server answers: give --key or --verifier-key "
            "(or LINEAGE_VERIFIER_KEY), the line that `lineage serve` prints, or --data DIR"
        )

    @property
    def endpoint(self) -> Endpoint:
        """Raises `SettingsError`."""
        from lineage_ledger.rpc.endpoint import Endpoint

        token = read_line(self.token_file) if self.token is None and self.token_file else self.token
        if self.server is None and self.data is not None:
            if not (self.data / "admin.sock").exists():
                raise SettingsError(
                    f"no ledger is being served from {self.data}: it has no admin.sock; "
                    f"start one with `lineage serve --data {shlex.quote(str(self.data))}`"
                )
            path = str(_socket_path(self.data / "admin.sock")).replace("%", "%25")  # it is read as a URI
            return Endpoint(f"unix:{path}", timeout_s=self.timeout_s)
        return Endpoint(
            self.server or _DEFAULT_SERVER,
            ca_file=self.ca_file,
            certificate_file=self.certificate_file,
            key_file=self.client_key_file,
            token=token,
            timeout_s=self.timeout_s,
        )

    def client(self) -> Client:
        """A client, which connects when it is first used. Raises `SettingsError`, `click.UsageError`."""
        from lineage_ledger.client import Client

        return Client(self.endpoint, ledger=str(self.verifier), checkpoint_file=self.checkpoint_file)

    def connect(self) -> Connection:
        """A bare connection, to append. Raises `SettingsError`."""
        from lineage_ledger.rpc.connection import Connection

        return Connection(self.endpoint)

    def admin_key(self, path: Path | None) -> SigningKey:
        """The admin's key: that in `path`, or the data directory's. Raises `InvalidKeyError`, `click.UsageError`."""
        if path is None and self.data is None:
            raise click.UsageError("the admin's key is needed to sign this: give --admin-key FILE, or --data DIR")
        return read_signing_key(path or Path(self.data or "") / "keys" / "admin.key")[1]


def _socket_path(path: Path) -> str:
    """The shorter way to say it: the system allows 107 bytes only."""
    return min(str(path.absolute()), os.path.relpath(path), key=len)


def _option(name: str, *other_names: str, envvar: bool = True, **attributes: Any) -> Decorator:
    variable = f"LINEAGE_{name.removeprefix('--').replace('-', '_').upper()}" if envvar else None
    parameter = name.removeprefix("--").replace("-", "_")
    return click.option(*other_names, name, parameter, envvar=variable, show_envvar=envvar, **attributes)


_CONNECTION_OPTIONS: Final = (
    _option("--token", metavar="TOKEN", help="Bearer token. Others can see a command line: prefer the variable."),
    _option("--token-file", type=FILE, help="File that holds the bearer token."),
    _option("--ca-file", type=FILE, help="Authority that signed the server's certificate (PEM); turns TLS on."),
    _option("--certificate-file", type=FILE, help="The client's certificate (PEM)."),
    _option("--client-key-file", type=FILE, help="Its key (PEM)."),
    _option(
        "--timeout-s",
        type=click.FloatRange(0, 3_600, min_open=True),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="How long one call may take.",
    ),
)
_ACCESS_OPTIONS: Final = (
    _option("--server", metavar="HOST:PORT", help=f"The ledger's server. [default: {_DEFAULT_SERVER}]"),
    _option("--data", type=FOLDER, help="Folder of a ledger on this machine: its Unix socket and its keys are used."),
    _option(
        "--verifier-key",
        "--key",
        type=VERIFIER_KEY,
        metavar="VKEY",
        help="Verifier key of the ledger, as you pinned it: its text, or a file.",
    ),
    *_CONNECTION_OPTIONS,
    _option(
        "--checkpoint-file",
        type=FILE,
        help="File that remembers what the ledger signed last; what contradicts it is refused. Made on first use.",
    ),
)


def access_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Adds the options that say where the ledger is; the command gets them as `access`."""

    @functools.wraps(command)
    def wrapper(**values: Any) -> Result:
        source, typed = click.get_current_context().get_parameter_source, click.core.ParameterSource.COMMANDLINE
        if source("data") is typed and source("server") is not typed:
            values["server"] = None  # The folder that was typed counts more than the server of the settings.
        access = Access(**{name: values.pop(name) for name in Access.__dataclass_fields__})
        return command(access=access, **values)

    for option in reversed(_ACCESS_OPTIONS):
        option(wrapper)
    return wrapper


def connection_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Adds `--server` and how to connect to it; the command gets them as `access`, which knows no key and no folder."""

    @functools.wraps(command)
    def wrapper(**values: Any) -> Result:
        names = Access.__dataclass_fields__.keys() - {"data", "verifier_key", "checkpoint_file"}
        access = Access(data=None, verifier_key=None, **{name: values.pop(name) for name in names})
        return command(access=access, **values)

    for option in reversed(
        (_option("--server", metavar="HOST:PORT", help="The ledger's server."), *_CONNECTION_OPTIONS)
    ):
        option(wrapper)
    return wrapper


def output_option(command: Callable[..., Result]) -> Callable[..., Result]:
    """Adds `--json`; the command gets `out`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @functools.wraps(command)
    def wrapper(*, as_json: bool, **values: Any) -> Result:
        return command(out=Output(as_json=as_json), **values)

    return wrapper


def witness_policy_option(help_text: str) -> Decorator:
    """Adds `--witness-policy`; the command gets a `WitnessPolicy` or None."""
    return _option("--witness-policy", type=WITNESS_POLICY, metavar="FILE", help=help_text)


def key_file_option(help_text: str, *, required: bool = True) -> Decorator:
    """Adds `--key-file`, a producer's signing key."""
    return _option("--key-file", type=FILE, required=required, help=help_text)


def examples(*lines: str) -> str:
    """An epilog of examples, which click leaves as it is; long ones go on behind a backslash."""
    return "\b\nExamples:\n" + "\n".join(f"  {part}" for line in lines for part in _folded(line))


def _folded(line: str) -> Iterator[str]:
    """A command line in pieces for 80 columns, broken before options only."""
    piece = ""
    for word in re.split(r" (?=-)", line):
        if piece and len(piece) + len(word) > _EXAMPLE_COLUMNS:
            yield f"{piece} \\"
            piece = f"    {word}"
        else:
            piece = f"{piece} {word}" if piece else word
    yield piece
