"""The key under which a process commits to what it received and answered, and the file that key is kept in.

What is committed to is in proto/README.md, "Commitments": each value has a key of its own, derived from this key and
from what the prediction says openly (its start time and request id). So whoever holds this key and the value can show
later that the value was the prediction's, and nobody else can guess it. Destroying the key erases what the
commitments say.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

from lineage_ledger.emitter.settings import text_setting
from lineage_ledger.errors import InvalidKeyError, MalformedError
from lineage_ledger.formats.commitment import MIN_KEY_BYTES, derive_key
from lineage_ledger.formats.commitment import opens as _opens
from lineage_ledger.formats.keys import read_secret, write_secret
from lineage_ledger.formats.text import decode_base64, encode_base64
from lineage_ledger.v1 import entry_pb2

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Role: TypeAlias = Literal["input", "output"]

_KEY_BYTES: Final = 32
_PREFIX: Final = "COMMITMENT+KEY+"

_logger = logging.getLogger("lineage_ledger.middleware")


class CommitmentKey:
    """A period's or subject's key. Neither its `repr` nor any error shows it."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """`secret` is at least 16 random bytes. Raises `InvalidKeyError`."""
        if len(secret) < MIN_KEY_BYTES:
            raise InvalidKeyError(f"a commitment key has at least {MIN_KEY_BYTES} bytes, not {len(secret)}")
        self._secret = bytes(secret)

    @classmethod
    def generate(cls) -> Self:
        """A new key of 32 bytes from the operating system's random source."""
        return cls(os.urandom(_KEY_BYTES))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """The key in a file: one line, `COMMITMENT+KEY+<base64>`, mode 0600. Raises `InvalidKeyError`."""
        line = read_secret(path)
        try:
            if not line.startswith(_PREFIX):
                raise MalformedError("it does not begin so")
            return cls(decode_base64(line.removeprefix(_PREFIX)))
        except (MalformedError, InvalidKeyError):
            raise InvalidKeyError(f"key file {os.fspath(path)}: not a commitment key ({_PREFIX}<base64>)") from None

    @classmethod
    def from_settings(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The key in the file that LINEAGE_COMMITMENT_KEY_FILE, or lineage.toml, names; the file is made on first use.

        Without that setting it is a key for this process alone: its commitments cannot be opened once the process has
        ended, which is logged. Raises `InvalidKeyError`, `SettingsError`.
        """
        path = text_setting("commitment_key_file", environment)
        if path is not None:
            return cls.read_or_make(path)
        _logger.warning(
            "commitment_key_file is not set: commitments are made under a random key that ends with this process; "
            "nobody will be able to open them"
        )
        return cls.generate()

    @classmethod
    def read_or_make(cls, path: str | os.PathLike[str]) -> Self:
        """The key in a file, which is made if it is not there. Raises `InvalidKeyError`."""
        if not os.path.lexists(path):
            try:
                cls.generate().write(path)
            except InvalidKeyError:
                if not os.path.lexists(path):
                    raise
                # Another worker of the same server was faster; its key is there whole.
            else:
                _logger.warning("made the commitment key %s: keep it as long as commitments are to be opened", path)
        return cls.read(path)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a new key file, mode 0600. Raises `InvalidKeyError` if `path` exists or cannot be written."""
        write_secret(path, _PREFIX + encode_base64(self._secret))

    def begin(self, role: Role, start_time_unix_ns: int, request_id: bytes) -> hmac.HMAC:
        """A commitment to what it will be updated with; its `digest()` is the commitment, 32 bytes."""
        return hmac.new(self._derive(role, start_time_unix_ns, request_id), digestmod=hashlib.sha256)

    def opens(self, prediction: entry_pb2.Prediction, role: Role, value: ReadableBuffer) -> bool:
        """Whether `value` is what the prediction received ("input") or answered ("output")."""
        commitment = prediction.input_commitment if role == "input" else prediction.output_commitment
        return _opens(commitment, value, self._derive(role, prediction.start_time_unix_ns, prediction.request_id))

    def _derive(self, role: Role, start_time_unix_ns: int, request_id: bytes) -> bytes:
        return derive_key(self._secret, start_time_unix_ns.to_bytes(8, "big") + request_id, role)

    def __repr__(self) -> str:
        return "CommitmentKey(...)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a commitment key is not pickled; write it to its file")
