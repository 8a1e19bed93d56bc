r"""Witness policies (C2SP tlog-policy): which witnesses must have cosigned a checkpoint before it counts.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <name>...
    quorum <name>|none

One statement a line; words are parted by spaces and tabs; empty lines, and lines that begin with "#", say nothing. A
name is used after the line that defines it only, and is a member of one group at most, so that a policy is a tree and
each witness counts in one way.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from lineage_ledger.errors import InvalidKeyError, MalformedError, QuorumError
from lineage_ledger.formats.note import Note, SignatureType, Verifier, cosignature_time, open_note

MAX_POLICY_BYTES: Final = 256 * 1024
MAX_LINES: Final = 4_096
MAX_DEFINITIONS: Final = 32
"""Logs, witnesses and groups at most, of each: what the specification recommends to support."""
MAX_NAME_BYTES: Final = 255
MAX_URL_BYTES: Final = 2_048
NO_QUORUM: Final = "none"

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BLANKS: Final = re.compile(r"[ \t]+")
_THRESHOLD: Final = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


_Definition = TypeVar("_Definition")


class Log(NamedTuple):
    """A log that the policy is for."""

    verifier: Verifier
    url: str


class Witness(NamedTuple):
    """Who may cosign."""

    name: str
    """In the policy; its key has a name of its own."""
    verifier: Verifier
    """Of type cosignature/v1."""
    url: str
    """Submission prefix; empty if none is given."""


class Group(NamedTuple):
    """Counts as having cosigned when at least `threshold` of its members have."""

    name: str
    threshold: int
    members: tuple[str, ...]


class Cosignature(NamedTuple):
    """A witness' verified statement that the checkpoint's tree was the largest consistent one that it had seen."""

    witness: Witness
    time_unix_s: int


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """A policy that `parse` has checked. Names are octets: what is not UTF-8 is kept by surrogate escapes."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    """A group's members are witnesses, or groups before it."""
    quorum: str

    @classmethod
    def parse(cls, data: bytes) -> WitnessPolicy:
        """The policy in a file's bytes. Raises `MalformedError`, which names the line."""
        if len(data) > MAX_POLICY_BYTES:
            raise MalformedError(f"the policy has {len(data):,} bytes, more than {MAX_POLICY_BYTES:,}")
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        if lines.pop():
            raise MalformedError(f"line {len(lines) + 1} of the policy does not end with a line end; is it cut off?")
        if len(lines) > MAX_LINES:
            raise MalformedError(f"the policy has {len(lines):,} lines, more than {MAX_LINES:,}")
        parser = _Parser()
        for number, line in enumerate(lines, 1):
            try:
                parser.read(line)
            except (MalformedError, InvalidKeyError) as error:
                raise MalformedError(f"line {number} of the policy: {error}") from error
        return parser.policy()

    @property
    def names(self) -> frozenset[str]:
        """Names of the witnesses that count towards the quorum."""
        groups = {group.name: group for group in self.groups}
        wanted, found = [self.quorum], set()
        while wanted:
            name = wanted.pop()
            if name in groups:
                wanted.extend(groups[name].members)
            elif name != NO_QUORUM:
                found.add(name)
        return frozenset(found)

    def is_satisfied_by(self, names: Collection[str]) -> bool:
        """Whether the witnesses of these names are a quorum."""
        if self.quorum == NO_QUORUM:
            return True
        counted = set(names) & {witness.name for witness in self.witnesses}
        for group in self.groups:
            if sum(member in counted for member in group.members) >= group.threshold:
                counted.add(group.name)
        return self.quorum in counted

    def cosignatures(self, signed: bytes) -> tuple[Cosignature, ...]:
        """The verified cosignatures of the policy's witnesses on a signed note, in the order of the policy.

        Raises `MalformedError`; `SignatureError` if one that claims to be by a witness of the policy is not.
        """
        known = {(one.verifier.name, one.verifier.key_id): one for one in self.witnesses}
        if not any((line.name, line.key_id) in known for line in Note.parse(signed).signatures):
            return ()
        opened = open_note(signed, [witness.verifier for witness in self.witnesses])
        times = {known[line.name, line.key_id].name: cosignature_time(line) for line in opened.signatures}
        return tuple(Cosignature(one, times[one.name]) for one in self.witnesses if one.name in times)

    def check(self, signed: bytes, log: Verifier | None = None) -> tuple[Cosignature, ...]:
        """The cosignatures on a checkpoint's note, if they are a quorum.

        `log` is the key that the log is known by: if the policy lists logs, it must be among them. The log's own
        signature is not looked at. Raises `QuorumError`, `MalformedError` or `SignatureError`.
        """
        if log is not None and self.logs and log not in (listed.verifier for listed in self.logs):
            raise QuorumError(f"the witness policy is for other logs: it does not list the key of {log.name}")
        cosignatures = self.cosignatures(signed)
        names = [cosignature.witness.name for cosignature in cosignatures]
        if not self.is_satisfied_by(names):
            raise QuorumError(f"the checkpoint does not satisfy the witness policy: {self.explain(names)}")
        return cosignatures

    def explain(self, names: Collection[str]) -> str:
        """Who has cosigned and what the quorum wants, for people."""
        groups = {group.name: group for group in self.groups}
        have = ", ".join(ascii(name)[1:-1] for name in sorted(names)) or "no witness of it"
        if self.quorum in groups:
            group = groups[self.quorum]
            members = ", ".join(ascii(name)[1:-1] for name in group.members)
            wanted = f"{group.threshold} of {members}"
        else:
            wanted = ascii(self.quorum)[1:-1]
        return f"{have} cosigned it, and {wanted} must"


class _Parser:
    """What the lines so far have defined."""

    def __init__(self) -> None:
        self._logs: list[Log] = []
        self._witnesses: list[Witness] = []
        self._groups: list[Group] = []
        self._free: dict[str, bool] = {}
        """Names that are defined, and whether no group has them yet."""
        self._quorum: str | None = None

    def read(self, line: str) -> None:
        if found := _CONTROL.search(line):
            raise MalformedError(f"the control character {ord(found[0]):#04x} at column {found.start() + 1}")
        words = _BLANKS.split(line.strip(" \t"))
        if not words[0] or words[0].startswith("#"):
            return
        keyword, *arguments = words
        if keyword == "log" and len(arguments) in (1, 2):
            self._log(*arguments)
        elif keyword == "witness" and len(arguments) in (2, 3):
            self._witness(*arguments)
        elif keyword == "group" and len(arguments) >= 3:
            self._group(arguments[0], arguments[1], arguments[2:])
        elif keyword == "quorum" and len(arguments) == 1:
            self._set_quorum(arguments[0])
        else:
            raise MalformedError(
                "it must read 'log VKEY [URL]', 'witness NAME VKEY [URL]', 'group NAME all|any|K NAME...' or "
                f"'quorum NAME', not {line.strip()[:80]!a}"
            )

    def policy(self) -> WitnessPolicy:
        if self._quorum is None:
            raise MalformedError("the policy has no line 'quorum'; 'quorum none' asks for no cosignature")
        return WitnessPolicy(tuple(self._logs), tuple(self._witnesses), tuple(self._groups), self._quorum)

    def _log(self, vkey: str, url: str = "") -> None:
        verifier = _verifier(vkey, SignatureType.ED25519, "a log signs with a key of type 1 (Ed25519)")
        _add(self._logs, Log(verifier, _checked_url(url)), "logs")
        _check_new_key(self._logs, verifier)

    def _witness(self, name: str, vkey: str, url: str = "") -> None:
        verifier = _verifier(vkey, SignatureType.COSIGNATURE_V1, "a witness signs with a key of type 4 (cosignature)")
        self._define(name)
        _add(self._witnesses, Witness(name, verifier, _checked_url(url)), "witnesses")
        _check_new_key(self._witnesses, verifier)

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        for member in members:
            if not self._free.get(self._defined(member)):
                raise MalformedError(f"{member[:80]!a} is a member of a group already; it may count once")
            self._free[member] = False
        if threshold in {"all", "any"}:
            least = len(members) if threshold == "all" else 1
        elif _THRESHOLD.fullmatch(threshold):
            least = int(threshold)
        else:
            raise MalformedError(f"{threshold[:80]!a} is neither 'all' nor 'any' nor a number")
        if least > len(members):
            raise MalformedError(f"{least} of {len(members)} members can never be reached")
        self._define(name)
        _add(self._groups, Group(name, least, tuple(members)), "groups")

    def _set_quorum(self, name: str) -> None:
        if self._quorum is not None:
            raise MalformedError("a second line 'quorum'; a policy has one")
        self._quorum = name if name == NO_QUORUM else self._defined(name)

    def _define(self, name: str) -> None:
        if name == NO_QUORUM or name in self._free:
            raise MalformedError(f"the name {name[:80]!a} is taken")
        if len(name.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES:
            raise MalformedError(f"the name {name[:80]!a} has more than {MAX_NAME_BYTES} bytes")
        self._free[name] = True

    def _defined(self, name: str) -> str:
        if name not in self._free:
            raise MalformedError(f"{name[:80]!a} is not defined on a line before")
        return name


def _verifier(vkey: str, wanted: SignatureType, otherwise: str) -> Verifier:
    verifier = Verifier.parse(vkey)
    if verifier.type is not wanted:
        raise MalformedError(f"the key of {verifier.name} is of type {int(verifier.type)}; {otherwise}")
    return verifier


def _checked_url(url: str) -> str:
    if len(url.encode("utf-8", "surrogateescape")) > MAX_URL_BYTES:
        raise MalformedError(f"the URL has more than {MAX_URL_BYTES:,} bytes")
    return url


def _add(definitions: list[_Definition], definition: _Definition, what: str) -> None:
    if len(definitions) == MAX_DEFINITIONS:
        raise MalformedError(f"more than {MAX_DEFINITIONS} {what}")
    definitions.append(definition)


def _check_new_key(definitions: list[Log] | list[Witness], verifier: Verifier) -> None:
    """Keys are told apart by the public key alone: under two names one party would count twice."""
    if sum(one.verifier.public_key == verifier.public_key for one in definitions) > 1:
        raise MalformedError(f"the public key of {verifier.name} is on a line before, under whatever name")
