"""Where an audit ended, kept so that a later one goes on from there without the entries before.

A state is as good as the storage it was kept on: whoever can write it decides what the next audit takes for granted.
Its checkpoint and its hashes are checked when it is loaded; of what it says of chains and keys the entries alone could
tell, so a state that decayed is told by its digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from typing import Any, Final, TypeAlias, TypeVar

from lineage_ledger.audit.edge import Edge, level_widths
from lineage_ledger.audit.facts import ChainFacts, Counts, ProducerFacts
from lineage_ledger.errors import InvalidKeyError, MalformedError, VerificationError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.text import decode_base64, encode_base64, parse_decimal

MAX_STATE_BYTES: Final = 256 << 20
"""About 700,000 chains."""

_HEADER: Final = b"lineage-ledger/audit-state/v1\n"
_DIGEST: Final = re.compile(rb"sha256 [0-9a-f]{64}\n")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,19}")
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")
_EMPTY: Final = "-"
_LENGTHS: Final = {"chain_id": 16}
"""Bytes of a value by its name; all others are hashes and keys."""
_MAY_BE_EMPTY: Final = "entry_hash"
"""Of the newest block, before the first one."""

_Record = TypeVar("_Record")


@dataclass(slots=True)
class BlockFacts:
    """The newest block; before the first one, what that must follow."""

    number: int = 0
    index: int = 0
    time_unix_ns: int = 0
    """The latest time so far."""
    entry_hash: bytes = b""


@dataclass(slots=True)
class AdminKey:
    """A key of the genesis that may register and end producers' keys."""

    public_key: bytes


@dataclass(slots=True)
class LedgerKeyFacts:
    """A key that the ledger has or had."""

    index: int
    """Of the entry that put it in force."""
    public_key: bytes


@dataclass(frozen=True, slots=True)
class RulesState:
    """What the entries up to the end of a block say that those behind it must agree with."""

    counts: Counts
    block: BlockFacts
    admins: tuple[AdminKey, ...]
    ledger_keys: tuple[LedgerKeyFacts, ...]
    producers: tuple[ProducerFacts, ...]
    """In the order of their registrations."""
    chains: tuple[ChainFacts, ...]
    """By ordinal."""


@dataclass(frozen=True, slots=True)
class AuditState:
    """The end of an audit that found nothing: a checkpoint, the right edge of its tree, and what its entries say."""

    note: bytes
    """The checkpoint as signed."""
    edge: Edge
    rules: RulesState

    @property
    def size(self) -> int:
        """Entries that were audited."""
        return self.edge.size

    def encode(self) -> bytes:
        """As it is kept. Raises `MalformedError` if it is too long to be read again."""
        body = "".join(f"{line}\n" for line in self._lines()).encode() + b"\n" + self.note
        if len(body) > MAX_STATE_BYTES - 200:
            raise MalformedError(
                f"a state of {len(body):,} bytes cannot be kept; at most {MAX_STATE_BYTES:,}. Audit this ledger whole"
            )
        return _HEADER + b"sha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    def _lines(self) -> Iterator[str]:
        yield f"size {self.size}"
        for level, hashes in enumerate(self.edge.levels):
            yield f"tile {level} {encode_base64(hashes) or _EMPTY}"
        yield _line("counts", self.rules.counts)
        yield _line("block", self.rules.block)
        for name, records in _record_lists(self.rules):
            for record in records:
                yield _line(name, record)

    @classmethod
    def parse(cls, data: bytes, verifier: Verifier) -> AuditState:
        """The state whose encoding is `data`, of the ledger that `verifier` is a key of.

        Checks its digest, its checkpoint's signature by the ledger's key at its size, and that its tiles lead to the
        checkpoint's root. Raises `MalformedError` or `VerificationError`.
        """
        if len(data) > MAX_STATE_BYTES:
            raise MalformedError(f"is {len(data):,} bytes; an audit state has at most {MAX_STATE_BYTES:,}")
        if not data.startswith(_HEADER):
            raise MalformedError(f"does not begin with the line {_HEADER.decode().rstrip()!r}")
        digest = _DIGEST.match(data, len(_HEADER))
        if digest is None:
            raise MalformedError("the second line of an audit state is its digest")
        body = data[digest.end() :]
        if digest[0] != b"sha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n":
            raise MalformedError("its digest does not match: it was changed, or is not whole")
        head, separator, note = body.partition(b"\n\n")
        if not separator:
            raise MalformedError("has no checkpoint")
        try:
            state = cls._parse_lines(head.decode("ascii").split("\n"), note)
        except UnicodeDecodeError as error:
            raise MalformedError(f"byte {error.start} behind its digest is not ASCII") from error
        if state.encode() != data:
            raise MalformedError("is not in the one form that an audit state is written in")
        state._check(verifier)
        return state

    @classmethod
    def _parse_lines(cls, lines: list[str], note: bytes) -> AuditState:
        reader = _Lines(lines)
        (size_text,) = reader.take("size", 1)
        size = parse_decimal(size_text)
        levels = []
        for level, width in enumerate(level_widths(size)):
            said, text = reader.take("tile", 2)
            hashes = b"" if text == _EMPTY else decode_base64(text)
            if said != str(level) or len(hashes) != width * HASH_SIZE:
                raise reader.error(f"must be the {width} hashes of level {level} of a tree of {size} entries")
            levels.append(hashes)
        state = RulesState(
            reader.record("counts", Counts),
            reader.record("block", BlockFacts),
            tuple(reader.records("admin", AdminKey)),
            tuple(reader.records("ledger_key", LedgerKeyFacts)),
            tuple(reader.records("producer", ProducerFacts)),
            tuple(reader.records("chain", ChainFacts)),
        )
        reader.end()
        if len({each.public_key for each in state.producers}) != len(state.producers):
            raise MalformedError("has a producer twice")
        if len({each.chain_id for each in state.chains}) != len(state.chains):
            raise MalformedError("has a chain twice")
        if [each.ordinal for each in state.chains] != list(range(len(state.chains))):
            raise MalformedError("its chains are not in their order")
        return cls(note, Edge(size, tuple(levels)), state)

    def _check(self, verifier: Verifier) -> None:
        keys = self.rules.ledger_keys
        if verifier.public_key not in [each.public_key for each in keys]:
            raise VerificationError(f"is of another ledger: {verifier} is none of its keys")
        in_force = next((each.public_key for each in reversed(keys) if each.index < self.size), b"")
        try:
            key = Verifier(verifier.name, in_force)
        except InvalidKeyError as error:
            raise MalformedError(f"has no key of the ledger that can be in force at its size: {error}") from error
        checkpoint = Checkpoint.open(self.note, key)
        if checkpoint.size != self.size or checkpoint.root != self.edge.root():
            raise VerificationError("its tiles are not those of its checkpoint's tree")


Since: TypeAlias = bytes | AuditState
"""Where a former audit ended.

A checkpoint, as a signed note: the entries before are read and hashed, but the signatures of their seals and
attestations are not verified again. A state: the entries before are not read.
"""


def read_since(data: bytes, verifier: Verifier) -> Since:
    """What a file holds that an audit is to go on from. Raises as `AuditState.parse` does."""
    return AuditState.parse(data, verifier) if data.startswith(_HEADER) else data


def _record_lists(rules: RulesState) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return (
        ("admin", rules.admins),
        ("ledger_key", rules.ledger_keys),
        ("producer", rules.producers),
        ("chain", rules.chains),
    )


class _Lines:
    """Takes lines in their order, and says of one that is not right which it is."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0

    def error(self, problem: str) -> MalformedError:
        return MalformedError(f"line {self._at + 2} of the audit state {problem}")

    def _is(self, name: str) -> bool:
        return self._at < len(self._lines) and self._lines[self._at].startswith(f"{name} ")

    def take(self, name: str, count: int) -> list[str]:
        """The `count` values of the next line, which is called `name`."""
        values = self._lines[self._at].split(" ")[1:] if self._is(name) else []
        self._at += 1
        if len(values) != count:
            raise self.error(f"must be {name!r} with {count} values")
        return values

    def record(self, name: str, kind: type[_Record]) -> _Record:
        """The next line as one of the records of this module, which hold bytes, numbers and truth values."""
        columns = fields(kind)  # type: ignore[arg-type]  # all kinds given here are dataclasses
        values = zip(columns, self.take(name, len(columns)), strict=True)
        return kind(*(self._value(column.name, str(column.type), text) for column, text in values))

    def records(self, name: str, kind: type[_Record]) -> Iterator[_Record]:
        """All following lines of this name."""
        while self._is(name):
            yield self.record(name, kind)

    def _value(self, name: str, kind: str, text: str) -> bytes | int | bool:
        if kind == "bytes" and text == _EMPTY and name == _MAY_BE_EMPTY:
            return b""
        if kind == "bytes" and len(text) == 2 * _LENGTHS.get(name, HASH_SIZE) and _HEX.fullmatch(text):
            return bytes.fromhex(text)
        if kind == "bool" and text in ("0", "1"):
            return text == "1"
        if kind == "int" and _NUMBER.fullmatch(text) and int(text) < 1 << 64:
            return int(text)
        raise self.error(f"has {text[:32]!r} where the {kind} of {name} belong")

    def end(self) -> None:
        if self._at != len(self._lines):
            self._at += 1
            raise self.error("is one too many")


def _line(name: str, record: Any) -> str:
    return " ".join([name, *map(_text, astuple(record))])


def _text(value: bytes | int) -> str:
    return (value.hex() or _EMPTY) if isinstance(value, bytes) else str(int(value))
