"""Makes channels, for both of grpc's flavours, from one description of an endpoint."""

from __future__ import annotations

from pathlib import Path

import grpc
import grpc.aio

from lineage_ledger.errors import SettingsError
from lineage_ledger.rpc.endpoint import MAX_MESSAGE_BYTES, Endpoint

_KEEPALIVE_MS = 30_000
_KEEPALIVE_TIMEOUT_MS = 10_000
_CONNECT_TIMEOUT_MS = 10_000
_RECONNECT_MIN_MS = 100
_RECONNECT_MAX_MS = 5_000
_MAX_PEM_BYTES = 1024 * 1024

OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MIN_MS),
    # In spite of its name this is what one attempt may take: far networks and busy machines need it.
    ("grpc.min_reconnect_backoff_ms", _CONNECT_TIMEOUT_MS),
    ("grpc.max_reconnect_backoff_ms", _RECONNECT_MAX_MS),
    # Channels with equal options share their connection otherwise, and then closing one before a fork closes nothing.
    ("grpc.use_local_subchannel_pool", 1),
    # We retry whole batches ourselves and know which of them are safe to repeat.
    ("grpc.enable_retries", 0),
]


def open_channel(endpoint: Endpoint) -> grpc.Channel:
    """A synchronous channel; connects when it is first used. Raises `SettingsError` if a PEM file is unusable."""
    credentials = _credentials(endpoint)
    if credentials is None:
        return grpc.insecure_channel(endpoint.target, options=OPTIONS)
    return grpc.secure_channel(endpoint.target, credentials, options=OPTIONS)


def open_aio_channel(endpoint: Endpoint) -> grpc.aio.Channel:
    """The same for asyncio."""
    credentials = _credentials(endpoint)
    if credentials is None:
        return grpc.aio.insecure_channel(endpoint.target, options=OPTIONS)
    return grpc.aio.secure_channel(endpoint.target, credentials, options=OPTIONS)


def call_metadata(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """What each call carries: the bearer token, if there is one.

    Sent as plain metadata, since grpc's call credentials refuse loopback without TLS; `Endpoint` has already refused
    a token that would cross a network in the clear.
    """
    return (("authorization", f"Bearer {endpoint.token}"),) if endpoint.token else ()


def _credentials(endpoint: Endpoint) -> grpc.ChannelCredentials | None:
    if endpoint.ca_file is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=_read_pem(endpoint.ca_file),
        private_key=_read_pem(endpoint.key_file) if endpoint.key_file else None,
        certificate_chain=_read_pem(endpoint.certificate_file) if endpoint.certificate_file else None,
    )


def _read_pem(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            pem = file.read(_MAX_PEM_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    if not pem.lstrip().startswith(b"-----BEGIN") or len(pem) > _MAX_PEM_BYTES:
        raise SettingsError(f"{path} is not a PEM file")
    return pem
