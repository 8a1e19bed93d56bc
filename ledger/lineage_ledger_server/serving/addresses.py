"""Sockets bound to HOST:PORT."""

from __future__ import annotations

import socket

from lineage_ledger.errors import SettingsError


def bound(listen: str) -> socket.socket:
    """A TCP socket bound to `listen`, port 0 for any free one. Raises `SettingsError` for one that cannot be had."""
    host, _, port = listen.rpartition(":")
    try:
        family, *_, address = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            # A port whose last connections are being forgotten is free; one that somebody listens on is not.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((str(address[0]), int(address[1])))
        except BaseException:
            made.close()
            raise
    except OSError as error:
        raise SettingsError(f"cannot listen on {listen}: {error.strerror or error}") from None
    return made


def with_port(listen: str, made: socket.socket) -> str:
    """`listen` with the port that `made`, bound to it, got."""
    return f"{listen.rpartition(':')[0]}:{made.getsockname()[1]}"
