"""A process that only reads: the same files, an address of its own, no lock, no key. Appending never waits."""

from __future__ import annotations

from lineage_ledger.errors import SettingsError
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.head import HeadRecord
from lineage_ledger_server.index.lookup import Lookup
from lineage_ledger_server.publication import Publication
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.serving.endpoint import (
    MAX_CALLS,
    READ_SERVICES,
    WORKERS,
    Endpoint,
    Health,
    add_read_services,
)
from lineage_ledger_server.serving.loop import on_loop
from lineage_ledger_server.serving.settings import ServerSettings
from lineage_ledger_server.store.index_store import IndexStore
from lineage_ledger_server.store.log_store import LogStore


class ReaderServer:
    """Serves what the process that writes has published. Opens everything on construction.

    It may be one of several that share the port (`shares_port`). Raises `SettingsError` if there is no ledger or no
    such address, `StoreError` or `VerificationError` if its files cannot be used.
    """

    def __init__(self, settings: ServerSettings, *, shares_port: bool = False) -> None:
        credentials = settings.credentials()
        policy = settings.policy()
        data_dir = DataDir(settings.data, settings.head)
        if not data_dir.exists:
            raise SettingsError(f"there is no ledger in {settings.data} to read; `lineage serve --data` makes one")
        self._head = HeadRecord(data_dir.head, read_only=True)
        self._log = LogStore.open(data_dir.log, read_only=True)
        self._drain_s = settings.drain_s
        self._publication = Publication(data_dir, self._head)
        self.reader = LogReader(self._log, self._publication.head)
        keys = self.reader.ledger_keys()
        self.verifier = keys.verifier_at(keys.open(self.reader.head().note).size)
        self._index = IndexStore.open(data_dir.index, origin=self.verifier.name, read_only=True)
        self._health = Health()
        self._endpoint = Endpoint(
            policy, self._health, READ_SERVICES, workers=WORKERS, max_calls=MAX_CALLS, shares_port=shares_port
        )
        add_read_services(self._endpoint, self.reader, Lookup(self.reader, self._index), self._publication)
        self.address = self._endpoint.listen(settings.listen, credentials)

    @property
    def published_size(self) -> int:
        """Entries that readers see."""
        return self.reader.head().size

    def start(self) -> None:
        """Begin to serve."""
        self._health.say(["", *READ_SERVICES], serving=True)
        self._endpoint.start()

    def stop(self) -> None:
        """Let open calls end, for at most `drain_s` seconds."""
        on_loop(self._health.enter_graceful_shutdown())
        self._endpoint.begin_stop(self._drain_s).result()
        self._endpoint.close()
        self._index.close()
        self._log.close()
        self._publication.close()
        self._head.close()
