"""Rules of the strict encoding that span fields (proto/README.md, "Strict encoding", the table of messages).

Each check gets one message whose fields were already checked one by one, and refuses it or returns. The C kernel has
one of the same name for each (`_kernel_strict.h`); `strict_tables` says what that is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from lineage_ledger.errors import MalformedEntryError
from lineage_ledger.v1 import entry_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SEAL_BYTES: Final = 32_000
DIGEST_BYTES: Final[Mapping[int, int]] = {
    entry_pb2.DIGEST_ALGORITHM_SHA256: 32,
    entry_pb2.DIGEST_ALGORITHM_SHA512: 64,
    entry_pb2.DIGEST_ALGORITHM_SHA1: 20,
    entry_pb2.DIGEST_ALGORITHM_MD5: 16,
    entry_pb2.DIGEST_ALGORITHM_CRC32: 4,
}
"""Length of a digest's value by its algorithm."""


def refuse(path: str, offset: int, problem: str) -> NoReturn:
    """Raise the one error of this format: which field, what is wrong and what is right, at which byte."""
    raise MalformedEntryError(f"{path or 'entry'}: {problem} (at byte {offset})", offset=offset)


class Fields:
    """One message, taken apart: the values and offsets of the fields that are present, by name.

    A singular field has one value. Integers stand for numbers, enums and booleans, bytes for text as well; what
    `bytes` carry is `Fields` too. `start` and `end` bound the message in `data`, which is the whole entry.
    """

    __slots__ = ("data", "end", "offsets", "path", "start", "values")

    def __init__(self, path: str, data: bytes, start: int, end: int) -> None:
        self.path = path
        self.data = data
        self.start = start
        self.end = end
        self.values: dict[str, list[int | bytes | Fields]] = {}
        self.offsets: dict[str, list[int]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.values

    @property
    def encoded(self) -> bytes:
        """The message's bytes."""
        return self.data[self.start : self.end]

    def number(self, name: str) -> int:
        """The field's number; 0 if it is absent."""
        value = self.values[name][0] if name in self.values else 0
        assert isinstance(value, int)
        return value

    def raw(self, name: str) -> bytes:
        """The field's bytes; empty if it is absent."""
        value = self.values[name][0] if name in self.values else b""
        assert isinstance(value, bytes)
        return value

    def messages(self, name: str) -> list[Fields]:
        """The field's messages; none if it is absent."""
        return [value for value in self.values.get(name, ()) if isinstance(value, Fields)]

    def refuse(self, name: str, problem: str) -> NoReturn:
        """Refuse the message for what its field `name` holds or lacks."""
        path = f"{self.path}.{name}" if self.path else name
        refuse(path, self.offsets[name][0] if name in self.offsets else self.start, problem)


def seal_is_small(entry: Fields) -> None:
    """Two seals must fit into one conflict."""
    if "seal" in entry and entry.end - entry.start > MAX_SEAL_BYTES:
        entry.refuse("seal", f"makes an entry of {entry.end - entry.start} bytes; a seal has at most {MAX_SEAL_BYTES}")


def output_unless_failed(prediction: Fields) -> None:
    if "output_commitment" not in prediction and "status_code" not in prediction:
        prediction.refuse("output_commitment", "is missing; it is required when status_code is absent (OK)")


def first_seal_opens(body: Fields) -> None:
    sequence = body.number("batch_sequence")
    if ("chain_nonce" in body) != (sequence == 0):
        body.refuse("chain_nonce", f"must be present if, and only if, batch_sequence is 0; it is {sequence}")
    if ("previous_seal_hash" in body) != (sequence != 0):
        body.refuse("previous_seal_hash", f"must be present if, and only if, batch_sequence is not 0; it is {sequence}")
    if "predecessor" in body and sequence != 0:
        body.refuse("predecessor", f"may be present only if batch_sequence is 0; it is {sequence}")


def both_times_or_none(body: Fields) -> None:
    names = ("earliest_start_time_unix_ns", "latest_start_time_unix_ns")
    for name, other in (names, names[::-1]):
        if name in body and other not in body:
            body.refuse(other, f"is missing; {name} is present, and there are both or none")


def ranges_apart(name: str, message: Fields) -> None:
    """Ranges [first, first + count) of the field `name` ascend, and neither overlap nor touch."""
    end = -1
    for place, element in enumerate(message.messages(name)):
        first, count = element.number("first"), element.number("count")
        if first <= end:
            refuse(
                element.path,
                element.start,
                f"starts at {first}; after range {place - 1}, which ends before {end}, it must start above {end} "
                "(ascending, not touching)",
            )
        end = first + count
        if end >= 1 << 64:
            refuse(element.path, element.start, f"ends at {end}; first + count must be below 2^64")


def digest_length(digest: Fields) -> None:
    algorithm, length = digest.number("algorithm"), len(digest.raw("value"))
    if length != DIGEST_BYTES[algorithm]:
        digest.refuse("value", f"is {length} bytes; algorithm {algorithm} has {DIGEST_BYTES[algorithm]}")


def code_only_for_code(artifact: Fields) -> None:
    if "code" in artifact and artifact.number("kind") != entry_pb2.ARTIFACT_KIND_CODE:
        artifact.refuse("code", "is present; only an artifact of kind CODE may have it")


def commit_is_gits(code: Fields) -> None:
    algorithm = code.messages("commit")[0].number("algorithm")
    if algorithm not in (entry_pb2.DIGEST_ALGORITHM_SHA1, entry_pb2.DIGEST_ALGORITHM_SHA256):
        code.refuse("commit", f"has algorithm {algorithm}; git's commit ids are SHA-1 or SHA-256")


def diff_if_dirty(code: Fields) -> None:
    if ("diff" in code) != ("dirty" in code):
        code.refuse("diff", "must be present if, and only if, dirty is true")


def path_is_plain(file: Fields) -> None:
    """A path can stand in a manifest (`sha256sum`'s lines), and leads nowhere else."""
    if not {10, 13, 92}.isdisjoint(file.raw("path")):
        file.refuse("path", "has a newline, a carriage return or a backslash")
    if not {b"", b".", b".."}.isdisjoint(file.raw("path").split(b"/")):
        file.refuse("path", 'has an empty, "." or ".." part; it must be relative, with "/" between parts')


def signed_if_keyed(attestation: Fields) -> None:
    if ("signature" in attestation) != ("public_key" in attestation.messages("body")[0]):
        attestation.refuse("signature", "must be present if, and only if, body.public_key is")


def seals_differ(conflict: Fields) -> None:
    (first,), (second,) = conflict.messages("first_seal"), conflict.messages("second_seal")
    if _seal_body(first) == _seal_body(second):
        conflict.refuse("second_seal", "has the body of first_seal; a conflict is between two that differ")


def _seal_body(entry: Fields) -> bytes:
    (seal,) = entry.messages("seal")
    (body,) = seal.messages("body")
    return body.encoded
