"""Where a ledger is and how to prove who calls. Imports no grpc."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from lineage_ledger.errors import SettingsError

DEFAULT_PORT = 7461
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Largest message taken or sent, in bytes; the largest request of the contract, a stream message, is 4 MiB."""
DEFAULT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address and credentials of a ledger's server.

    `target` is `host:port` or `unix:PATH`. With `ca_file` (PEM) the connection is TLS and the server must present a
    certificate of that authority; `certificate_file` and `key_file` (PEM) are the client's own. A `token` is sent as
    a bearer token, over TLS, loopback or a Unix socket only. Raises `SettingsError`.
    """

    target: str
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    token: str | None = field(default=None, repr=False)
    timeout_s: float = DEFAULT_TIMEOUT_S

    def __post_init__(self) -> None:
        if not self.target:
            raise SettingsError(f"the server's address is empty; give host:port, such as 127.0.0.1:{DEFAULT_PORT}")
        if (self.certificate_file is None) != (self.key_file is None):
            raise SettingsError("a client certificate needs both its certificate file and its key file")
        if self.certificate_file and not self.ca_file:
            raise SettingsError("a client certificate needs TLS: give the authority that signed the server's (ca_file)")
        if self.token is not None and not self.token.isascii():
            raise SettingsError("the token must be ASCII text")
        if self.token and not self.ca_file and not self.is_local:
            raise SettingsError(f"the token would cross the network to {self.target} unencrypted; give ca_file for TLS")
        if self.timeout_s <= 0:
            raise SettingsError(f"timeout_s must be positive, not {self.timeout_s}")

    @property
    def is_local(self) -> bool:
        """Whether the target cannot leave this machine."""
        host = self.target.rpartition(":")[0].removeprefix("dns:").lstrip("/").strip("[]")
        if self.target.startswith("unix:") or host == "localhost":
            return True
        try:
            return ip_address(host).is_loopback
        except ValueError:  # Any other name, such as 127.example.com, may be anywhere.
            return False
