"""Types of what is given on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from lineage_ledger.errors import LineageError, SettingsError
from lineage_ledger.formats.digest import parse_digest
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.witness_policy import MAX_POLICY_BYTES, WitnessPolicy
from lineage_ledger.v1 import entry_pb2

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # Generic since click 8.4 only.

FILE: Final = click.Path(dir_okay=False, path_type=Path)
FOLDER: Final = click.Path(file_okay=False, path_type=Path)

_MAX_LINE_BYTES: Final = 4_096
_MAX_FILE_BYTES: Final = 65_536
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CHAIN_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_REFERENCE: Final = re.compile(r"((?:sampled:)?[a-z0-9]+:[0-9a-f]+)(?::(.+))?", re.DOTALL)
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII
)


class Parsed(_ParamType):
    """Text that `parse` makes a value of; what it raises becomes a usage error."""

    def __init__(self, name: str, result: type, parse: Callable[[str], object]) -> None:
        self.name = name
        self._result = result
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, self._result):  # A default, or one from the settings file.
            return value
        try:
            return self._parse(str(value))
        except (LineageError, ValueError) as error:
            return self.fail(str(error), param, ctx)


def parse_time(text: str) -> int:
    """Nanoseconds since the Unix epoch, at least 1, of RFC 3339 text; UTC unless it says otherwise.

    A day alone is its midnight. Raises `ValueError`.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a time; write RFC 3339, such as 2026-03-01T12:00:00Z")
    day, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone is None or zone in "Zz" else zone
    since = datetime.fromisoformat(f"{day}T{clock or '00:00'}{zone}") - _EPOCH
    time_unix_ns = (since.days * 86_400 + since.seconds) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
    if not 0 < time_unix_ns < 1 << 64:
        raise ValueError(f"{text!r} is not between 1970 and 2554")
    return time_unix_ns


def parse_hash(text: str) -> bytes:
    """32 bytes from 64 hex digits: a public key or a leaf hash. Raises `ValueError`."""
    if not _HASH.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not 64 lower-case hex digits")
    return bytes.fromhex(text)


def parse_chain_id(text: str) -> bytes:
    """16 bytes from 32 hex digits. Raises `ValueError`."""
    if not _CHAIN_ID.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not a chain's id: 32 lower-case hex digits")
    return bytes.fromhex(text)


def parse_reference(text: str) -> tuple[entry_pb2.Digest, str]:
    """A digest, and after another colon the role of the artifact: `sha256:<hex>:training`."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:100]!r} is not a digest, with or without a role: sha256:<hex digits>:training")
    return parse_digest(match[1]), match[2] or ""


def parse_pair(text: str) -> tuple[str, str]:
    """NAME=VALUE; the value may be empty."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{text[:100]!r} must be NAME=VALUE")
    return name, value


def parse_verifier_key(text: str) -> Verifier:
    """A verifier key (C2SP signed-note vkey), or the name of the file that holds it."""
    path = Path(text)
    if path.exists():
        return Verifier.parse(read_line(path))
    if "+" not in text:
        raise SettingsError(f"{text[:80]!r} is neither a verifier key (name+key id+base64) nor a file that is there")
    return Verifier.parse(text)


def parse_verifier_keys(text: str) -> tuple[Verifier, ...]:
    """Verifier keys of one ledger, one or more with spaces between, or the name of the file that holds one a line."""
    path = Path(text)
    lines = _read_small(path).splitlines() if path.exists() else text.split()
    keys = tuple(parse_verifier_key(line) for line in lines if line)
    if not keys:
        raise SettingsError(f"{text[:80]!r} holds no verifier key")
    return keys


def read_witness_policy(text: str) -> WitnessPolicy:
    """The policy (C2SP tlog-policy) in the file of that name. Raises `SettingsError` or `MalformedError`."""
    try:
        with Path(text).open("rb") as file:
            return WitnessPolicy.parse(file.read(MAX_POLICY_BYTES + 1))
    except OSError as error:
        raise SettingsError(f"cannot read the witness policy {text}: {error.strerror}") from error


def read_line(path: Path) -> str:
    """The one line of a small file. Raises `SettingsError`, which shows nothing of it."""
    text = _read_small(path).removesuffix("\n").removesuffix("\r")
    if "\n" in text or len(text) > _MAX_LINE_BYTES:
        raise SettingsError(f"{path} must hold one line of text")
    return text


def _read_small(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"cannot read the file {path}: {error.strerror}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise SettingsError(f"{path} is longer than what it is read for, at most {_MAX_FILE_BYTES:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not text") from None


DIGEST: Final = Parsed("digest", entry_pb2.Digest, parse_digest)
HASH: Final = Parsed("64 hex digits", bytes, parse_hash)
CHAIN_ID: Final = Parsed("chain id", bytes, parse_chain_id)
PAIR: Final = Parsed("name=value", tuple, parse_pair)
REFERENCE: Final = Parsed("digest[:role]", tuple, parse_reference)
TIME: Final = Parsed("time", int, parse_time)
VERIFIER_KEYS: Final = Parsed("vkeys", tuple, parse_verifier_keys)
VERIFIER_KEY: Final = Parsed("vkey", Verifier, parse_verifier_key)
WITNESS_POLICY: Final = Parsed("file", WitnessPolicy, read_witness_policy)
