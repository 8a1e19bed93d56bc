"""How to serve: what `lineage serve` is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from lineage_ledger.errors import MalformedError, SettingsError
from lineage_ledger.formats.witness_policy import MAX_POLICY_BYTES, WitnessPolicy
from lineage_ledger_server.services.access import (
    AccessPolicy,
    check_address,
    is_loopback,
    read_policy,
    server_credentials,
)
from lineage_ledger_server.witnessing.settings import WitnessSettings


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How to serve. `listen` is HOST:PORT, port 0 for any free one."""

    data: Path
    listen: str = "127.0.0.1:7461"
    origin: str | None = None
    head: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    access: Path | None = None
    insecure: bool = False
    max_append_streams: int = 256
    max_pending_mib: int = 128
    block_interval_s: float = 60.0
    witness_policy: Path | None = None
    require_witnesses: bool = False
    witness_timeout_s: float = 10.0
    insecure_witnesses: bool = False
    drain_s: float = 10.0

    def credentials(self) -> grpc.ServerCredentials | None:
        """TLS credentials, None for plain text.

        Raises `SettingsError` for plain text beyond loopback, and for an address that is none.
        """
        check_address(self.listen)
        tls = [path for path in (self.tls_cert, self.tls_key, self.client_ca) if path is not None]
        if len(tls) == 3:
            return server_credentials(*tls)
        if tls:
            raise SettingsError("TLS needs all of --tls-cert, --tls-key and --client-ca")
        if not is_loopback(self.listen) and not self.insecure:
            raise SettingsError(
                f"{self.listen} can be reached from other machines: give --tls-cert, --tls-key and --client-ca, or "
                "spell out --insecure if something in front of the ledger protects it"
            )
        return None

    def witnessing(self) -> WitnessSettings | None:
        """Whose cosignatures are wanted. Raises `SettingsError`."""
        if self.witness_policy is None:
            if self.require_witnesses:
                raise SettingsError("--require-witnesses needs --witness-policy, which says which")
            return None
        try:
            with self.witness_policy.open("rb") as file:
                policy = WitnessPolicy.parse(file.read(MAX_POLICY_BYTES + 1))
        except OSError as error:
            raise SettingsError(f"cannot read the witness policy {self.witness_policy}: {error.strerror}") from error
        except MalformedError as error:
            raise SettingsError(f"{self.witness_policy}: {error}") from error
        return WitnessSettings(policy, self.require_witnesses, self.witness_timeout_s, self.insecure_witnesses)

    def policy(self) -> AccessPolicy:
        """Who may. Raises `SettingsError`."""
        return read_policy(self.access) if self.access else AccessPolicy()
