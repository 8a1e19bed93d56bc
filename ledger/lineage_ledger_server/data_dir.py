"""The data directory: where things lie in it."""

from __future__ import annotations

from pathlib import Path


class DataDir:
    """Paths below a ledger's directory, which belongs to one account (mode 0700)."""

    def __init__(self, root: Path, head: Path | None = None) -> None:
        self.root = root
        self.log = root / "log"
        self.index = root / "index"
        self.head = head or root / "head"
        self.lock = root / "lock"
        self.admin_socket = root / "admin.sock"
        self.ledger_key = root / "keys" / "ledger.key"
        self.admin_key = root / "keys" / "admin.key"
        self.verifier_key = root / "verifier.key"

    @property
    def exists(self) -> bool:
        """Whether a ledger was created here."""
        return self.verifier_key.exists()

    def make(self) -> None:
        """Create the folders that are missing, for this account alone."""
        for folder in (self.root, self.ledger_key.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
