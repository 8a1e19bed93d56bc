"""The group `lineage`: its commands, loaded by name when they are wanted, its settings, and how errors end it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import click

from lineage_ledger._version import __version__
from lineage_ledger.cli import settings
from lineage_ledger.cli.options import examples
from lineage_ledger.cli.output import Failure, UsageFailure, print_error
from lineage_ledger.cli.types import FILE
from lineage_ledger.errors import LineageError
from lineage_ledger.settings_file import read_settings_file

ENTRY_POINT_GROUP: Final = "lineage_ledger.commands"
INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells have it: 128 and the number of SIGINT."""

_OWN: Final[Mapping[str, str]] = {
    "keygen": "keygen:keygen",
    "producers": "producers:producers",
    "ledger-key": "ledger_key:ledger_key",
    "record": "record:record",
    "show": "show:show",
    "find": "find:find",
    "trace": "trace:trace",
    "receipt": "receipt:receipt",
    "verify": "verify:verify",
    "completeness": "completeness:completeness",
    "checkpoint": "checkpoint:checkpoint",
    "monitor": "monitor:monitor",
    "audit": "audit:audit",
    "stats": "stats:stats",
}
_SERVER: Final[Mapping[str, str]] = {
    "serve": "Serve a ledger.",
    "export": "Write the log as files for any web server.",
    "index": "Make the indexes again from the log.",
    "witness": "Run a witness, which cosigns checkpoints.",
    "demo": "Train, serve, trace, prove and audit a real model.",
}
"""Commands of the server's distribution, with what to say of them where it is not installed."""


class LineageGroup(click.Group):
    """Loads a command when it is called or listed, and turns every `LineageError` into a message."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click names it)
        found = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
        return [*_OWN, *_SERVER, *sorted(found - _OWN.keys() - _SERVER.keys())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (click names it)
        if cmd_name not in self.commands:
            command = _load(cmd_name)
            if command is None:
                return None
            self.add_command(command, cmd_name)
        return self.commands[cmd_name]

    def invoke(self, ctx: click.Context) -> Any:
        # Whether JSON is wanted matters even where the arguments could not be understood.
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except LineageError as error:
            raise Failure(error, as_json=as_json) from error
        except BrokenPipeError:  # Whoever read the output has seen enough; click ends quietly.
            raise
        except OSError as error:
            raise Failure(LineageError(str(error)), as_json=as_json) from error
        except KeyboardInterrupt:
            # Not 1, which click would make of it: an audit that was broken off has found nothing.
            print_error({"error": {"kind": "Interrupted", "message": "interrupted"}} if as_json else "interrupted")
            ctx.exit(INTERRUPTED)
        except click.UsageError as error:
            if as_json:
                raise UsageFailure(error.format_message(), error.ctx) from error
            raise


def _load(name: str) -> click.Command | None:
    if name in _OWN:
        module, _, attribute = _OWN[name].partition(":")
        command: click.Command = getattr(import_module(f"lineage_ledger.cli.{module}"), attribute)
        return command
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        try:
            loaded: click.Command = point.load()
        except (ImportError, AttributeError) as error:
            return _unavailable(name, f"the command cannot be loaded: {error}")
        return loaded
    if name in _SERVER:
        return _unavailable(name, f"`lineage {name}` needs the server: install lineage-ledger-server")
    return None


def _unavailable(name: str, message: str) -> click.Command:
    """A command that says what is missing, whatever its arguments are; exit status 2."""

    @click.command(
        name,
        help=f"{_SERVER.get(name, name)} Not available here: {message}.",
        short_help=f"{_SERVER.get(name, name)} (install lineage-ledger-server)",
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def unavailable(context: click.Context, arguments: tuple[str, ...]) -> None:
        as_json = "--json" in arguments
        print_error({"error": {"kind": "NotInstalled", "message": message}} if as_json else message)
        context.exit(2)

    return unavailable


def _version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from lineage_ledger import kernel

        python = ".".join(map(str, sys.version_info[:3]))
        click.echo(f"lineage, version {__version__} (Python {python})\nkernel: {kernel.describe()}")
        context.exit()


@click.group(
    cls=LineageGroup,
    context_settings={"auto_envvar_prefix": "LINEAGE", "help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "lineage serve --data ledger",
        "lineage keygen server.key --name model-server",
        "lineage producers add --data ledger --key-file server.key",
        "lineage trace --data ledger 8f5e2c0d9a1b4c7e8f5e2c0d9a1b4c7e-12-a1b2c3d4",
    )
    + "\n\nEvery option can also be set by a variable (LINEAGE_SERVER, LINEAGE_VERIFIER_KEY, LINEAGE_FIND_LIMIT) or in "
    "the settings file. Exit status: 0, 1 for what failed, 2 for wrong usage and what could not be checked, 130 after "
    "Ctrl-C.",
)
@click.option(
    "-V", "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version."
)
@click.option(
    "--config",
    type=FILE,
    envvar="LINEAGE_CONFIG",
    show_envvar=True,
    help="Settings (TOML). [default: lineage.toml, if it is there]",
)
@click.pass_context
def lineage(context: click.Context, config: Path | None) -> None:
    """Put every prediction on record, and prove later what it came from."""
    path = config or (settings.DEFAULT_FILE if settings.DEFAULT_FILE.is_file() else None)
    values = read_settings_file(path) if path is not None else {}
    name = context.invoked_subcommand
    if name is not None and isinstance(context.command, click.Group):
        # Only what is called is loaded; of the others' settings no more than their form is looked at.
        context.command.get_command(context, name)
        context.default_map = settings.default_map(
            context.command, context, values | settings.from_variables(os.environ)
        )
