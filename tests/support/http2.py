"""A client that speaks just enough HTTP/2 to misbehave as gRPC's own would not: it decides what it reads and sends."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from contextlib import suppress

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x6, 0x8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_INITIAL_WINDOW_SIZE = 0x4
_CONNECTION_ROOM = 65_535
_PIECE_BYTES = 16_384


class RawConnection:
    """Answers pings, as a live machine does, and gives each answer `window_bytes` of room and not a byte more."""

    def __init__(self, address: str, window_bytes: int = 0) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._authority = address.encode()
        self._stream = -1
        self._sending = threading.Lock()
        self._room = threading.Condition()
        self._initial_room = _CONNECTION_ROOM
        self._used: Counter[int] = Counter()  # by stream, 0 being the connection: sent less what was given back
        self._settings: dict[int, int] = {}
        self._introduced = threading.Event()
        self.data_bytes = 0
        """What came in answers."""
        self.reset: set[int] = set()
        """Streams that the server broke off."""
        self.ended = threading.Event()
        """The server has closed the connection."""
        self._send(_PREFACE + _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, window_bytes)))
        threading.Thread(target=self._read, daemon=True).start()

    def call(self, method: str | bytes, message: bytes = b"", *, sent_bytes: int | None = None) -> int:
        """Begin a call of `/package.Service/Method`, or of any bytes; returns the number of its stream.

        Of its message only `sent_bytes` are sent, if that is given.
        """
        self._stream += 2
        path = method if isinstance(method, bytes) else method.encode()
        names = {
            b":method": b"POST", b":scheme": b"http", b":path": path, b":authority": self._authority,
            b"content-type": b"application/grpc", b"te": b"trailers",
        }  # fmt: skip
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in names.items())
        framed = struct.pack(">BI", 0, len(message)) + message
        part = framed if sent_bytes is None else framed[: 5 + sent_bytes]
        self._send(_frame(_HEADERS, _END_HEADERS, self._stream, block))
        for at in range(0, len(part), _PIECE_BYTES):
            piece = part[at : at + _PIECE_BYTES]
            self._await_room(self._stream, len(piece))
            end = at + len(piece) == len(framed)
            self._send(_frame(_DATA, _END_STREAM if end else 0, self._stream, piece))
        return self._stream

    def _await_room(self, stream: int, size: int) -> None:
        with self._room:
            fits = self._room.wait_for(
                lambda: self._used[0] + size <= _CONNECTION_ROOM and self._used[stream] + size <= self._initial_room,
                timeout=30,
            )
            if not fits:
                raise TimeoutError("the server does not take more of the message")
            self._used[0] += size
            self._used[stream] += size

    def _send(self, frame: bytes) -> None:
        with self._sending:
            self._socket.sendall(frame)

    def _read(self) -> None:
        stream = self._socket.makefile("rb")
        with suppress(OSError, ValueError):
            while header := stream.read(9):
                length, kind, flags = int.from_bytes(header[:3], "big"), header[3], header[4]
                number = int.from_bytes(header[5:], "big")
                payload = stream.read(length)
                if kind == _DATA:
                    self.data_bytes += length
                elif kind == _RST_STREAM:
                    self.reset.add(number)
                elif kind == _WINDOW_UPDATE:
                    with self._room:
                        self._used[number] -= int.from_bytes(payload, "big")
                        self._room.notify_all()
                elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                    if kind == _SETTINGS:
                        self._take_settings(payload)
                    self._send(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        self.ended.set()

    def _take_settings(self, payload: bytes) -> None:
        with self._room:
            for name, value in struct.iter_unpack(">HI", payload):
                self._settings[name] = value
                if name == _INITIAL_WINDOW_SIZE:
                    self._initial_room = value
            self._room.notify_all()
        self._introduced.set()

    def settings(self) -> dict[int, int]:
        """What the server has said of itself, by number."""
        assert self._introduced.wait(30)
        return self._settings

    def close(self) -> None:
        # The thread that reads holds the file open otherwise.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _text(value: bytes) -> bytes:
    assert len(value) < 127
    return bytes([len(value)]) + value
