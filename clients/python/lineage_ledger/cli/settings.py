"""Settings from a TOML file, as click's default map.

Keys at the top, such as `server` or `verifier_key`, hold for every command that has such an option; a table named
like a command holds for that command alone:

    server = "ledger.example.com:7461"
    verifier_key = "verifier.key"

    [find]
    limit = 20

An option on the command line comes first, then its environment variable, then this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from lineage_ledger.errors import SettingsError

DEFAULT_FILE: Final = Path("lineage.toml")

SHARED: Final = frozenset(
    {
        "ca_file",
        "certificate_file",
        "checkpoint_file",
        "client_key_file",
        "data",
        "key_file",
        "server",
        "timeout_s",
        "token",
        "token_file",
        "verifier_key",
        "witness_policy",
    }
)
"""Settings that mean the same for every command of the client; those of an emitter have the same names."""


def from_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The shared settings that are set as `LINEAGE_…`, for commands of other distributions, which do not name them."""
    return {name: value for name in SHARED if (value := environment.get(f"LINEAGE_{name.upper()}"))}


def default_map(group: click.Group, context: click.Context, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What click takes its defaults from, for every command below `group`."""
    shared = {name: value for name, value in settings.items() if name in SHARED}
    return {name: _for_command(group, context, name, shared, settings) for name in group.list_commands(context)}


def _for_command(
    group: click.Group, context: click.Context, name: str, shared: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    own = settings.get(name, {})
    if not isinstance(own, dict):
        raise SettingsError(f"the settings of the command {name} must be a table: write [{name}]")
    values = {**shared, **own}
    command = group.commands.get(name)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            values[below] = _for_command(command, context, below, shared, own)
    return values
