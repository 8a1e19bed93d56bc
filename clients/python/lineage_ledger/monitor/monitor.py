"""The rounds of all watched ledgers, each in a thread of its own, until somebody stops them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from lineage_ledger.errors import SettingsError
from lineage_ledger.monitor.alarms import Alarms
from lineage_ledger.monitor.log import log
from lineage_ledger.monitor.metrics import Metrics
from lineage_ledger.monitor.state import StateFolder
from lineage_ledger.monitor.view import Round, View, Watched
from lineage_ledger.monitor.webhook import Webhook

MAX_LEDGERS = 256


class Monitor:
    """Watches ledgers. `stopped` is set to end it."""

    def __init__(
        self,
        ledgers: Sequence[Watched],
        folder: Path,
        stopped: threading.Event,
        *,
        interval_s: float,
        webhook: Webhook | None = None,
        patience_s: float = 300.0,
    ) -> None:
        """Keeps what it knows in `folder`, in a folder for each ledger's name. Raises `SettingsError`, `StateError`."""
        names = [watched.name for watched in ledgers]
        if not 1 <= len(names) <= MAX_LEDGERS or len(set(names)) != len(names):
            raise SettingsError(f"a monitor watches 1 to {MAX_LEDGERS} ledgers, each with a name of its own")
        self.metrics = Metrics(names)
        self.newest: dict[str, Round] = {}
        """By name, the newest round of each."""
        self._stopped = stopped
        self._interval_s = interval_s
        self._views = [View(watched, StateFolder(folder / quote(watched.name, safe=""))) for watched in ledgers]
        self._alarms = [Alarms(view.watched, view.state, self.metrics, webhook, patience_s) for view in self._views]

    def once(self) -> int:
        """One round of each; the worst exit status: 1 a ledger failed, 2 one could not be checked, 0 all is right."""
        statuses = [0] * len(self._views)

        def run(number: int) -> None:
            statuses[number] = self._round(number).exit_status

        self._in_threads(run)
        return 1 if 1 in statuses else max(statuses)

    def run(self) -> None:
        """Rounds until it is stopped."""
        self._in_threads(self._rounds)

    def _rounds(self, number: int) -> None:
        while not self._stopped.is_set():
            self._round(number)
            self._stopped.wait(self._interval_s * random.uniform(0.9, 1.1))  # noqa: S311  (jitter is no secret)

    def _round(self, number: int) -> Round:
        view = self._views[number]
        found = self.newest[view.watched.name] = view.round()
        self.metrics.observe(view.watched.name, found)
        self._alarms[number].note(found.failures)
        if not found.failures and found.checkpoint is not None:
            log(
                "round",
                ledger=view.watched.name,
                tree_size=found.checkpoint.size,
                entries_checked=found.entries,
                seconds=round(found.seconds, 3),
            )
        return found

    def _in_threads(self, work: Callable[[int], None]) -> None:
        threads = [
            threading.Thread(target=work, args=(number,), name=f"monitor-{number}", daemon=True)
            for number in range(len(self._views))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
