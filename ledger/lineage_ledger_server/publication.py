"""Which head readers may see, and which checkpoint is shown to them: what was signed, or what witnesses cosigned.

The process that writes says in `DIR/publication` which rule it goes by, so that every process that only reads goes by
the same. `DIR/cosigned` has the form of the head record: the newest checkpoint that satisfied the witness policy.
"""

from __future__ import annotations

import os
import threading
from enum import Enum

from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import CorruptValueError, NotWitnessedError, StoreError
from lineage_ledger_server.head import Head, HeadRecord

_MAX_RULE_BYTES = 64


class Rule(Enum):
    """What is published when; the value is what the file says, and without one there is no witness policy."""

    SIGNED = ""
    """What was signed, at once."""
    COSIGNED_TOO = "witnesses are asked\n"
    """What was signed, at once; what was cosigned is shown where that is asked for, and to the web."""
    COSIGNED_ONLY = "witnesses are required\n"
    """Nothing that was not cosigned."""


class Publication:
    """The heads of a ledger, by the rule in force at each moment. Thread-safe.

    Methods raise StoreError or CorruptValueError if the files cannot be read.
    """

    def __init__(self, data_dir: DataDir, signed: HeadRecord) -> None:
        self._data_dir = data_dir
        self._signed = signed
        self._cosigned: HeadRecord | None = None
        self._lock = threading.Lock()

    @property
    def rule(self) -> Rule:
        """The rule that the process that writes goes by, or the last one went by."""
        try:
            with self._data_dir.publication.open("rb") as file:
                content = file.read(_MAX_RULE_BYTES)
        except FileNotFoundError:
            return Rule.SIGNED
        except OSError as error:
            raise StoreError(f"cannot read {self._data_dir.publication}: {error.strerror}") from error
        for rule in (Rule.COSIGNED_TOO, Rule.COSIGNED_ONLY):
            if content == rule.value.encode():
                return rule
        raise CorruptValueError(f"{self._data_dir.publication} says no rule that is known; start the server anew")

    def head(self) -> Head:
        """The newest head that readers may see. Raises NotWitnessedError if they must wait for the first."""
        if self.rule is not Rule.COSIGNED_ONLY:
            return self._signed.read_published()
        return self.witnessed()

    def witnessed(self) -> Head:
        """The newest head that the witnesses cosigned. Raises NotWitnessedError if there is none, or no policy."""
        head = None if self.rule is Rule.SIGNED else self._newest_cosigned()
        if head is None:
            raise NotWitnessedError("no checkpoint of this ledger has the cosignatures of its witness policy")
        return head

    def note(self) -> bytes:
        """The checkpoint to show to whoever asks for the newest: the cosigned one, as soon as there is one."""
        head = None if self.rule is Rule.SIGNED else self._newest_cosigned()
        return (head or self.head()).note

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


def write_rule(data_dir: DataDir, rule: Rule) -> None:
    """Put a rule in force, durably. For the process that writes. Raises StoreError."""
    path = data_dir.publication
    try:
        if rule is Rule.SIGNED:
            path.unlink(missing_ok=True)
        else:
            temporary = path.with_suffix(".new")
            with temporary.open("w") as file:
                file.write(rule.value)
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
