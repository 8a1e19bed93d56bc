"""Which head readers may see, and which checkpoint is shown to them: what was signed, or what witnesses cosigned.

The process that writes says in `DIR/publication` which rule it goes by, and since which size, so that every process
that only reads goes by the same. `DIR/cosigned` has the form of the head record: the newest checkpoint that satisfied
the witness policy.
"""

from __future__ import annotations

import os
import threading
from enum import Enum
from typing import NamedTuple

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.text import parse_decimal
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import CorruptValueError, NotWitnessedError, StoreError
from lineage_ledger_server.head import Head, HeadRecord

_MAX_FILE_BYTES = 64


class Rule(Enum):
    """What is published when; the value is what the file says."""

    SIGNED = "no witnesses are asked"
    """What was signed, at once."""
    COSIGNED_TOO = "witnesses are asked"
    """What was signed, at once; what was cosigned is shown where that is asked for, and to the web."""
    COSIGNED_ONLY = "witnesses are required"
    """Nothing that was not cosigned."""


class RuleInForce(NamedTuple):
    """What the file says; without a file there is no witness policy."""

    rule: Rule = Rule.SIGNED
    since_size: int = 0
    """Entries that had been signed when witnesses were first asked: what was cosigned below that is from another time,
    and may be older than what was shown since."""


def read_rule(data_dir: DataDir) -> RuleInForce:
    """The rule that the process that writes goes by, or the last one went by. Raises StoreError, CorruptValueError."""
    path = data_dir.publication
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        return RuleInForce()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    rule, separator, since = content.decode("ascii", "replace").removesuffix("\n").partition("\nsince ")
    try:
        if not separator:
            raise MalformedError("its second line must read 'since SIZE'")
        return RuleInForce(Rule(rule), parse_decimal(since))
    except ValueError as error:  # a MalformedError is one
        raise CorruptValueError(f"{path} says no rule that is known ({error}); start the server anew") from error


class Publication:
    """The heads of a ledger, by the rule in force at each moment. Thread-safe.

    Methods raise StoreError or CorruptValueError if the files cannot be read.
    """

    def __init__(self, data_dir: DataDir, signed: HeadRecord) -> None:
        self._data_dir = data_dir
        self._signed = signed
        self._cosigned: HeadRecord | None = None
        self._shown: Head | None = None  # before anything was cosigned; guarded by _lock, as is the record above
        self._lock = threading.Lock()

    def head(self) -> Head:
        """The newest head that readers may see. Raises NotWitnessedError if they must wait for the first."""
        if read_rule(self._data_dir).rule is not Rule.COSIGNED_ONLY:
            return self._signed.read_published()
        return self.witnessed()

    def witnessed(self) -> Head:
        """The newest head that the witnesses cosigned. Raises NotWitnessedError if there is none, or no policy."""
        head = None if read_rule(self._data_dir).rule is Rule.SIGNED else self._newest_cosigned()
        if head is None:
            raise NotWitnessedError("no checkpoint of this ledger has the cosignatures of its witness policy")
        return head

    def note(self) -> bytes:
        """The checkpoint to show to whoever asks for the newest: as soon as there is one, a cosigned one.

        It never goes back. What was shown before the first was cosigned stands until one is as large.
        """
        rule, since_size = read_rule(self._data_dir)
        if rule is not Rule.COSIGNED_TOO:
            return self.head().note
        cosigned = self._newest_cosigned()
        with self._lock:
            if cosigned is None or cosigned.size < since_size:
                self._shown = self._signed.read_published()
            elif self._shown is None or self._shown.size <= cosigned.size:
                return cosigned.note
            return self._shown.note

    def _newest_cosigned(self) -> Head | None:
        with self._lock:
            if self._cosigned is None:
                if not self._data_dir.cosigned.exists():
                    return None
                self._cosigned = HeadRecord(self._data_dir.cosigned, read_only=True)
        return self._cosigned.read()

    def close(self) -> None:
        """Close what this opened, which the record of what was signed is not."""
        with self._lock:
            if self._cosigned is not None:
                self._cosigned.close()
                self._cosigned = None


def write_rule(data_dir: DataDir, rule: Rule, signed_size: int) -> None:
    """Put a rule in force, durably. For the process that writes, `signed_size` entries being signed by then.

    Raises StoreError.
    """
    path = data_dir.publication
    try:
        before = read_rule(data_dir)
    except CorruptValueError:
        before = RuleInForce()
    since_size = signed_size if before.rule is Rule.SIGNED else before.since_size
    try:
        if rule is Rule.SIGNED:
            path.unlink(missing_ok=True)
        else:
            temporary = path.with_suffix(".new")
            with temporary.open("w") as file:
                file.write(f"{rule.value}\nsince {since_size}\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
