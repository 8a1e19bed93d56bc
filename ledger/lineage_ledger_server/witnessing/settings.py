"""Whose cosignatures a ledger wants, and what happens without them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from lineage_ledger.errors import SettingsError
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.witness_policy import Witness, WitnessPolicy
from lineage_ledger.web import check_url
from lineage_ledger_server.head import MAX_NOTE_BYTES

MAX_TIMEOUT_S: Final = 20.0
"""An emitter takes a stream for dead after 30 s without an acknowledgement."""
# A text with three lines, and a signature line: name, dash and spaces, 76 bytes in base64, line end.
_TEXT_BYTES = 20 + 45 + 2
_SIGNATURE_BYTES = 5 + 104 + 1


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """A policy, and how to go by it."""

    policy: WitnessPolicy
    required: bool = False
    """Nothing is published, and no batch acknowledged as published, without a quorum."""
    timeout_s: float = 10.0
    """How long one request to a witness may take, and how long an acknowledgement waits; at most `MAX_TIMEOUT_S`."""
    insecure: bool = False
    """Witnesses beyond loopback may be asked without TLS."""

    @property
    def witnesses(self) -> tuple[Witness, ...]:
        """Those that are asked: they count, and the policy says where they are."""
        counted = self.policy.names
        return tuple(one for one in self.policy.witnesses if one.url and one.name in counted)

    def check(self, origin: str, keys: Collection[Verifier]) -> None:
        """Whether a ledger of this origin, which has or had these keys, can go by the policy.

        Raises `SettingsError`.
        """
        if not 0 < self.timeout_s <= MAX_TIMEOUT_S:
            raise SettingsError(f"a quorum is waited for up to {MAX_TIMEOUT_S:g} s, not {self.timeout_s:g}")
        listed = [log.verifier for log in self.policy.logs]
        if listed and not any(key in listed for key in keys):
            raise SettingsError(f"the witness policy lists logs, and none of them has a key of {origin}")
        for witness in self.witnesses:
            _check_url(witness.url, insecure=self.insecure)
        if not self.policy.is_satisfied_by({witness.name for witness in self.witnesses}):
            raise SettingsError(
                "the witness policy names no URL for witnesses without whom there is no quorum: "
                "'witness NAME VKEY URL', where URL is the witness' submission prefix"
            )
        names = [origin, *(witness.verifier.name for witness in self.witnesses)]
        most = len(origin.encode()) + _TEXT_BYTES + sum(len(name.encode()) + _SIGNATURE_BYTES for name in names)
        if most > MAX_NOTE_BYTES:
            raise SettingsError(
                f"with all cosignatures of the witness policy a checkpoint would have {most:,} bytes, more than "
                f"{MAX_NOTE_BYTES:,}; name fewer witnesses"
            )


def _check_url(url: str, *, insecure: bool) -> None:
    check_url(url)
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise SettingsError(f"{url!r} is no submission prefix: it has a query or a fragment")
    if parts.scheme != "https" and not insecure and not _is_loopback(parts.hostname or ""):
        raise SettingsError(
            f"{url!r} is beyond this machine and without TLS; give an https URL, or spell out --insecure-witnesses"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
