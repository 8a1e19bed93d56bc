"""What a monitor keeps of one ledger, so that a restart goes on where it stopped.

FOLDER/checkpoint        and beside it the evidence of what was refused (`lineage_ledger.checkpoint_file`)
FOLDER/audit-state       where the audit of its entries ended (`lineage_ledger.audit.state`)
FOLDER/alarms.json       the failures of the last round, and whether they were told
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from lineage_ledger.audit import AuditState
from lineage_ledger.audit.state import MAX_STATE_BYTES
from lineage_ledger.checkpoint_file import CheckpointFile, replace_file
from lineage_ledger.errors import LineageError
from lineage_ledger.formats.note import Verifier

_MAX_ALARMS_BYTES: Final = 4 << 20


class StateError(LineageError):
    """A monitor's folder that cannot be used."""


@dataclass(slots=True)
class Alarm:
    """A failure that lasts."""

    key: str
    """What makes it the same failure in the next round."""
    since_unix_s: int
    told: bool = False


class StateFolder:
    """The folder of one watched ledger."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder, mode 0700. Raises `StateError`."""
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"cannot make the folder {folder}: {error.strerror}") from error
        self.checkpoint_file = CheckpointFile(folder / "checkpoint")

    def read_audit_state(self, verifier: Verifier) -> AuditState | None:
        """None if no audit ended here yet. Raises `StateError`."""
        path = self.folder / "audit-state"
        data = self._read(path, MAX_STATE_BYTES)
        try:
            return None if data is None else AuditState.parse(data, verifier)
        except LineageError as error:
            raise StateError(f"{path} {error}; delete it to audit the ledger from its beginning") from error

    def write_audit_state(self, state: AuditState) -> None:
        """Raises `StateError`."""
        self._write(self.folder / "audit-state", state.encode())

    def read_alarms(self) -> list[Alarm]:
        """Those of the last round; none where they cannot be read, so that all are told again. Raises `StateError`."""
        data = self._read(self.folder / "alarms.json", _MAX_ALARMS_BYTES)
        try:
            return [_alarm(each) for each in json.loads(data)] if data else []
        except (ValueError, TypeError, RecursionError):
            return []

    def write_alarms(self, alarms: list[Alarm]) -> None:
        """Raises `StateError`."""
        content = json.dumps([asdict(alarm) for alarm in alarms], indent=1) + "\n"
        self._write(self.folder / "alarms.json", content.encode())

    def _read(self, path: Path, max_bytes: int) -> bytes | None:
        try:
            with path.open("rb") as file:
                return file.read(max_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"cannot read {path}: {error.strerror}") from error

    def _write(self, path: Path, content: bytes) -> None:
        try:
            with self.checkpoint_file.locked():  # Another monitor of the same folder may be at it, one by cron, say.
                replace_file(path, content)
        except OSError as error:
            raise StateError(f"cannot write {path}: {error.strerror}") from error


def _alarm(said: dict[str, Any]) -> Alarm:
    """Raises `TypeError` or `ValueError` for what is none."""
    alarm = Alarm(**said)
    if [type(value) for value in (alarm.key, alarm.since_unix_s, alarm.told)] != [str, int, bool]:
        raise ValueError("no alarm")
    return alarm
