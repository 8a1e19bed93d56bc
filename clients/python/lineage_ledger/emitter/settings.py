"""An emitter's settings, from a TOML file and from LINEAGE_… variables, which come first.

LINEAGE_SERVER, LINEAGE_VERIFIER_KEY, LINEAGE_KEY_FILE     required
LINEAGE_DEPLOYMENT                                         leaf hash of the deployment, 64 hex digits: `Emitter.bind()`
LINEAGE_SPOOL                                              folder
LINEAGE_CHECKPOINT_FILE                                    keeps the newest checkpoint
LINEAGE_WITNESS_POLICY                                     file: who must cosign with wait_for = "witnessed"
LINEAGE_CA_FILE, LINEAGE_CERTIFICATE_FILE, LINEAGE_CLIENT_KEY_FILE, LINEAGE_TOKEN, LINEAGE_TOKEN_FILE
LINEAGE_WHEN_FULL, LINEAGE_FAIL_CLOSED, LINEAGE_LINGER_MS, … one for each field of `Policy` that is no table
LINEAGE_CONFIG                                             path of the TOML file (lineage.toml, if there is one),
                                                           which has the same names in lower case without the prefix

The command `lineage` reads the same file; its tables and settings are passed over here.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lineage_ledger.emitter.policy import Policy
from lineage_ledger.errors import MalformedError, SettingsError
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.witness_policy import MAX_POLICY_BYTES, WitnessPolicy
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.settings_file import read_settings_file

if TYPE_CHECKING:
    from lineage_ledger.emitter.emitter import Emitter

_PREFIX: Final = "LINEAGE_"
_REQUIRED: Final = ("server", "verifier_key", "key_file")
_OPTIONAL: Final = (
    "deployment",
    "spool",
    "checkpoint_file",
    "ca_file",
    "certificate_file",
    "client_key_file",
    "token",
    "token_file",
    "witness_policy",
)
_OTHERS: Final = frozenset({"commitment_key_file", "data", "timeout_s"})
_DEFAULT_FILE: Final = "lineage.toml"
_POLICY: Final[Mapping[str, Any]] = {
    item.name: item.default for item in dataclasses.fields(Policy) if item.name != "backoff"
}
_TRUTHS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class EmitterSettings:
    """All that an emitter is made of. Secrets are not shown."""

    endpoint: Endpoint
    verifier_key: str
    key_file: Path
    deployment: bytes | None = None
    """Leaf hash, 32 bytes: what `Emitter.bind()` binds to."""
    spool: Path | None = None
    checkpoint_file: Path | None = None
    """Turns `prove` on; with `prove` off it is the command's alone."""
    witness_policy: WitnessPolicy | None = None
    policy: Policy = field(default_factory=Policy)

    @classmethod
    def read(cls, path: str | Path | None = None, environment: Mapping[str, str] | None = None) -> EmitterSettings:
        """Settings of the process. Raises `SettingsError`, which names the variable or the file's setting."""
        variables = os.environ if environment is None else environment
        path = path or _file(variables)
        values = _read_file(Path(path)) if path else {}
        sources = dict.fromkeys(values, str(path))
        for name in (*_REQUIRED, *_OPTIONAL, *_POLICY):
            if variable := variables.get(_PREFIX + name.upper()):
                values[name] = variable
                sources[name] = _PREFIX + name.upper()
        for name in _REQUIRED:
            if not values.get(name):
                raise SettingsError(f"{name} is not set: set {_PREFIX}{name.upper()}, or {name} in the settings file")
        texts = {name: _text(name, values[name], sources[name]) for name in (*_REQUIRED, *_OPTIONAL) if name in values}
        options: dict[str, Any] = {
            name: _typed(name, values[name], sources[name]) for name in _POLICY if name in values
        }
        if texts.get("checkpoint_file"):
            options.setdefault("prove", True)
        paths = {name: Path(text) for name, text in texts.items()}
        return cls(
            Endpoint(
                texts["server"],
                ca_file=paths.get("ca_file"),
                certificate_file=paths.get("certificate_file"),
                key_file=paths.get("client_key_file"),
                token=texts.get("token") or _first_line(paths.get("token_file")),
            ),
            _verifier_key(texts["verifier_key"]),
            paths["key_file"],
            _leaf_hash(texts["deployment"], sources["deployment"]) if texts.get("deployment") else None,
            paths.get("spool"),
            paths.get("checkpoint_file") if options.get("prove") else None,
            _witness_policy(paths.get("witness_policy")),
            Policy(**options),
        )

    def emitter(self) -> Emitter:
        """The emitter that they describe."""
        from lineage_ledger.emitter.emitter import Emitter

        return Emitter(
            self.endpoint,
            ledger=self.verifier_key,
            key=self.key_file,
            deployment=self.deployment,
            spool=self.spool,
            checkpoint_file=self.checkpoint_file,
            witness_policy=self.witness_policy,
            policy=self.policy,
        )


def text_setting(name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """One setting that is no emitter's own, such as `commitment_key_file`, from the same places; None if it is not set.

    Raises `SettingsError`.
    """
    variables = os.environ if environment is None else environment
    if variable := variables.get(_PREFIX + name.upper()):
        return variable
    path = _file(variables)
    values = read_settings_file(path) if path is not None else {}
    return _text(name, values[name], str(path)) if name in values else None


def _file(variables: Mapping[str, str]) -> Path | None:
    """The settings file that the process has, if any."""
    named = variables.get(_PREFIX + "CONFIG")
    return Path(named) if named else Path(_DEFAULT_FILE) if Path(_DEFAULT_FILE).is_file() else None


def _read_file(path: Path) -> dict[str, Any]:
    values = read_settings_file(path)
    known = (*_REQUIRED, *_OPTIONAL, *_POLICY)
    values = {name: value for name, value in values.items() if name not in _OTHERS and not isinstance(value, dict)}
    for name in values:
        if name not in known:
            raise SettingsError(f"{path}: there is no setting {name!r}; there are {', '.join(known)}")
    return values


def _witness_policy(path: Path | None) -> WitnessPolicy | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return WitnessPolicy.parse(file.read(MAX_POLICY_BYTES + 1))
    except (OSError, MalformedError) as error:
        raise SettingsError(f"witness_policy: {path} cannot be used: {error}") from error


def _verifier_key(text: str) -> str:
    """The key itself, or the first line of the file that holds it: every key has a plus, and a path seldom."""
    path = Path(text)
    if "+" in text or not path.is_file():
        return text
    return path.read_text(errors="replace").partition("\n")[0]


def _first_line(path: Path | None) -> str | None:
    """The first line of a file that holds a token. Raises `SettingsError`, which shows nothing of it."""
    if path is None:
        return None
    try:
        return path.read_text().partition("\n")[0]
    except (OSError, ValueError):  # of a path with U+0000, or what is not UTF-8
        raise SettingsError(f"token_file: cannot read a token from {path}") from None


def _leaf_hash(text: str, source: str) -> bytes:
    try:
        leaf_hash = bytes.fromhex(text)
    except ValueError:
        leaf_hash = b""
    if len(leaf_hash) != HASH_SIZE:
        raise SettingsError(f"{source}: deployment must be a leaf hash, 64 hex digits, as `lineage record` prints it")
    return leaf_hash


def _text(name: str, value: object, source: str) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{source}: {name} must be text")
    return value


def _typed(name: str, value: object, source: str) -> object:
    """The value in the type that the policy's field has."""
    default = _POLICY[name]
    if isinstance(default, bool):
        if isinstance(value, str):
            value = _TRUTHS.get(value.lower())
        if not isinstance(value, bool):
            raise SettingsError(f"{source}: {name} must be true or false")
        return value
    if isinstance(default, str):
        return _text(name, value, source)
    try:
        if isinstance(value, bool):
            raise ValueError
        return type(default)(value)
    except (ValueError, TypeError, OverflowError):
        raise SettingsError(f"{source}: {name} must be a number, not {value!r}") from None
