"""The data directory: where things lie in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import structlog

from lineage_ledger.errors import SettingsError

_log = structlog.get_logger(__name__)


class DataDir:
    """Paths below a ledger's directory, which belongs to one account (mode 0700)."""

    def __init__(self, root: Path, head: Path | None = None) -> None:
        self.root = root
        self.log = root / "log"
        self.index = root / "index"
        self.head = head or root / "head"
        self.cosigned = root / "cosigned"
        """The newest checkpoint that satisfied the witness policy, in the form of the head record."""
        self.publication = root / "publication"
        """By which rule readers see heads; see `publication`."""
        self.lock = root / "lock"
        self.admin_socket = root / "admin.sock"
        self.ledger_key = root / "keys" / "ledger.key"
        self.new_ledger_key = root / "keys" / "ledger.key.new"
        """Made before the ledger's key is changed to it."""
        self.admin_key = root / "keys" / "admin.key"
        self.verifier_key = root / "verifier.key"

    @property
    def exists(self) -> bool:
        """Whether a ledger was created here."""
        return self.verifier_key.exists()

    def promote_ledger_key(self, retired_key_id: bytes | None) -> None:
        """`ledger.key.new` becomes `ledger.key`; what has that name is kept as the retired key of this id, if any."""
        if retired_key_id is not None:
            self.ledger_key.rename(self.ledger_key.with_name(f"ledger-{retired_key_id.hex()}.retired"))
        self.new_ledger_key.rename(self.ledger_key)
        _sync_folder(self.ledger_key.parent)

    def write_verifier_key(self, verifier_key: str) -> None:
        """Write it, whole or not at all, unless it is there."""
        line = f"{verifier_key}\n"
        if self.exists and self.verifier_key.read_text() == line:
            return
        temporary = self.verifier_key.with_suffix(".new")
        with temporary.open("w") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.verifier_key)

    def make(self) -> None:
        """Create the folders that are missing, for this account alone; take from others what they may do with these.

        Raises `SettingsError` if a folder cannot be made, or is somebody else's: a home, say, named by mistake, which
        its owner's programs would no longer be let into.
        """
        self._refuse_other_contents()
        for folder in (self.root, self.ledger_key.parent):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise SettingsError(f"cannot make the folder {folder}: {error.strerror}") from error
            mode = stat.S_IMODE(folder.stat().st_mode)
            if mode & 0o077:
                try:
                    folder.chmod(mode & 0o700)
                except OSError:  # a volume that somebody else mounted; the files in it are closed by themselves
                    _log.warning("others may use the ledger's folder", folder=str(folder), mode=f"{mode:04o}")

    def _refuse_other_contents(self) -> None:
        if self.exists:
            return
        files = (self.head, self.lock, self.admin_socket, self.verifier_key)
        ours = {path.name for path in (self.log, self.index, self.ledger_key.parent, *files)} | {"lost+found"}
        ours |= {path.with_suffix(".new").name for path in files}  # what a first start leaves that was killed
        try:
            others = sorted({path.name for path in self.root.iterdir()} - ours)
        except FileNotFoundError:
            return
        except OSError as error:
            raise SettingsError(f"cannot read the folder {self.root}: {error.strerror}") from error
        if others:
            raise SettingsError(
                f"{self.root} holds no ledger, but other things ({others[0]!r}, say): give a ledger a folder of its "
                "own, which is made if it is not there"
            )


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
