"""Who may call what: roles by client certificate or bearer token, checked before any service sees a call.

Three roles: `append` (AppendService), `read` (EntryService, ProofService, TraceService) and `admin` (AdminService, and
all the others). Whoever may append may also ask for consistency proofs, to hold the ledger to what it signed. Health
and reflection are open to whoever can connect. Without an access file whoever can connect may append and read, and
nobody is admin: on loopback that is every account of the machine, with TLS every client whose certificate the client CA
signed. The Unix socket is for whoever may open it, as admin.
"""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import grpc

from lineage_ledger.errors import SettingsError
from lineage_ledger_server.errors import RefusedError


class Role(StrEnum):
    APPEND = "append"
    READ = "read"
    ADMIN = "admin"


_ROLE_OF_SERVICE: Mapping[str, Role | None] = {
    "lineage_ledger.v1.AppendService": Role.APPEND,
    "lineage_ledger.v1.EntryService": Role.READ,
    "lineage_ledger.v1.ProofService": Role.READ,
    "lineage_ledger.v1.TraceService": Role.READ,
    "lineage_ledger.v1.AdminService": Role.ADMIN,
    "grpc.health.v1.Health": None,
    "grpc.reflection.v1alpha.ServerReflection": None,
    "grpc.reflection.v1.ServerReflection": None,
}
_ALSO_FOR_APPEND = "/lineage_ledger.v1.ProofService/GetConsistencyProof"
_BEARER = "Bearer "
_ENTRY_KEYS = {"token": "sha256", "certificate": "common_name"}


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Roles by SHA-256 of bearer token (hex) and by common name of client certificate; `anyone` has the rest."""

    anyone: frozenset[Role] = frozenset({Role.APPEND, Role.READ})
    tokens: Mapping[str, frozenset[Role]] = field(default_factory=dict)
    common_names: Mapping[str, frozenset[Role]] = field(default_factory=dict)

    def roles_of(self, token: str | None, common_name: str | None) -> frozenset[Role]:
        """Roles of a caller. Raises `RefusedError` (NOT_AUTHENTICATED) for a token that nobody was given."""
        roles = self.anyone
        if token is not None:
            found = self.tokens.get(hashlib.sha256(token.encode()).hexdigest())
            if found is None:
                raise RefusedError("the bearer token is not one that this ledger knows", reason="NOT_AUTHENTICATED")
            roles |= found
        if common_name is not None:
            roles |= self.common_names.get(common_name, frozenset())
        return roles

    def check(
        self, path: str, metadata: Iterable[tuple[str, str | bytes]], identity: Mapping[str, Iterable[bytes]]
    ) -> None:
        """Whether a caller, with this metadata and TLS identity, may call the method at `path` (/SERVICE/METHOD).

        Raises `RefusedError` (NOT_AUTHENTICATED or ROLE_REQUIRED).
        """
        role = _ROLE_OF_SERVICE.get(path.rpartition("/")[0].lstrip("/"), Role.ADMIN)
        if role is None:
            return
        allowed = frozenset({role, Role.ADMIN})
        if path == _ALSO_FOR_APPEND:
            allowed |= {Role.APPEND}
        token = _bearer_token(metadata)
        roles = self.roles_of(token, _common_name(identity))
        if roles & allowed:
            return
        if token is None and not roles:
            raise RefusedError(
                "this ledger wants to know who calls: send `authorization: Bearer TOKEN` or a client certificate",
                reason="NOT_AUTHENTICATED",
            )
        raise RefusedError(f"this call needs the role {role}; ask whoever runs the ledger", reason="ROLE_REQUIRED")


ADMIN_POLICY = AccessPolicy(anyone=frozenset(Role))
"""For the Unix socket, whose file mode says who may."""


def read_policy(path: Path) -> AccessPolicy:
    """Read an access file (TOML); whoever is not in it has no role.

    ```toml
    [[token]]
    sha256 = "<64 hex digits: SHA-256 of the token>"
    roles = ["append"]

    [[certificate]]
    common_name = "auditor.example.com"
    roles = ["read"]
    ```

    Raises `SettingsError` for anything else.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"the access file {path} cannot be read: {error}") from None
    unknown = set(document) - set(_ENTRY_KEYS)
    if unknown:
        raise SettingsError(f"{path}: unknown section {min(unknown)!r}; there are [[token]] and [[certificate]]")
    found = {kind: _read_entries(path, document.get(kind, []), kind) for kind in _ENTRY_KEYS}
    for digest in found["token"]:
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise SettingsError(f"{path}: a token's sha256 is 64 lower-case hex digits, not {digest!r}")
    return AccessPolicy(anyone=frozenset(), tokens=found["token"], common_names=found["certificate"])


def _read_entries(path: Path, entries: object, kind: str) -> dict[str, frozenset[Role]]:
    key = _ENTRY_KEYS[kind]
    found: dict[str, frozenset[Role]] = {}
    if not isinstance(entries, list):
        raise SettingsError(f"{path}: write [[{kind}]], with two brackets")
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != {key, "roles"} or not isinstance(entry[key], str):
            raise SettingsError(f"{path}: each [[{kind}]] has {key} (text) and roles (a list), and nothing else")
        if entry[key] in found:
            raise SettingsError(f"{path}: two [[{kind}]] have the {key} {entry[key]!r}; give it all its roles in one")
        try:
            found[entry[key]] = frozenset(Role(role) for role in entry["roles"])
        except (TypeError, ValueError):
            raise SettingsError(f"{path}: roles are a list of {', '.join(Role)}; not {entry['roles']!r}") from None
    return found


def _bearer_token(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    for key, value in metadata:
        if key == "authorization":
            if not isinstance(value, str) or not value.startswith(_BEARER):
                raise RefusedError("the authorization metadatum must be `Bearer TOKEN`", reason="NOT_AUTHENTICATED")
            return value.removeprefix(_BEARER)
    return None


def _common_name(identity: Mapping[str, Iterable[bytes]]) -> str | None:
    names = list(identity.get("x509_common_name", ()))
    return names[0].decode("utf-8", "replace") if names else None


def check_address(address: str) -> None:
    """Raises `SettingsError` unless `address` is HOST:PORT, an IPv6 host in brackets."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or "/" in host or (":" in host and not bracketed):
        raise SettingsError(f"cannot listen on {address!r}: give HOST:PORT, such as 127.0.0.1:7461 or [::1]:7461")
    if not (port.isascii() and port.isdecimal() and int(port) <= 65_535):
        raise SettingsError(f"cannot listen on {address!r}: its port is not a number from 0 to 65535")


def is_loopback(address: str) -> bool:
    """Whether `HOST:PORT` can be reached from this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name; where it leads is for others to say
        return False


def server_credentials(certificate: Path, key: Path, client_ca: Path) -> grpc.ServerCredentials:
    """TLS in which clients must show a certificate of `client_ca` (PEM files). Raises `SettingsError`."""
    try:
        files = [path.read_bytes() for path in (key, certificate, client_ca)]
        ssl.create_default_context(cadata=files[2].decode("ascii"))
    except (OSError, UnicodeDecodeError, ssl.SSLError) as error:
        raise SettingsError(f"the TLS files cannot be used: {error}") from None
    return grpc.ssl_server_credentials([(files[0], files[1])], root_certificates=files[2], require_client_auth=True)
