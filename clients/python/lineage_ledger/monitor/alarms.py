"""Which failures are new, and telling them: each once for as long as it lasts, beyond the life of a process."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lineage_ledger.monitor.log import log
from lineage_ledger.monitor.metrics import Metrics
from lineage_ledger.monitor.state import Alarm, StateError, StateFolder
from lineage_ledger.monitor.view import NOT_CHECKED, UNREACHABLE, Failure, Watched
from lineage_ledger.monitor.webhook import Webhook, WebhookError

_PATIENT_KINDS = frozenset({UNREACHABLE, NOT_CHECKED})
"""Failures that mostly pass by themselves: told once they have lasted."""


class Alarms:
    """The failures of one ledger. One thread uses it."""

    def __init__(
        self, watched: Watched, state: StateFolder, metrics: Metrics, webhook: Webhook | None, patience_s: float
    ) -> None:
        """`patience_s`: how long a ledger may be out of reach before that is told. Raises `StateError`."""
        self._watched = watched
        self._state = state
        self._metrics = metrics
        self._webhook = webhook
        self._patience_s = patience_s
        self._lasting = {alarm.key: alarm for alarm in state.read_alarms()}

    def note(self, failures: Sequence[Failure]) -> None:
        """The failures of a round: log and count those that are new, tell those that were not told yet."""
        before = self._lasting
        now_unix_s = int(time.time())
        self._lasting = {failure.key: before.get(failure.key) or Alarm(failure.key, now_unix_s) for failure in failures}
        for failure in failures:
            alarm = self._lasting[failure.key]
            if failure.key not in before:
                self._metrics.failed(self._watched.name, failure)
                log("failure", **self._facts(failure), what=failure.what, evidence_folder=failure.folder)
            waits = failure.kind in _PATIENT_KINDS and now_unix_s - alarm.since_unix_s < self._patience_s
            if not alarm.told and not waits:
                alarm.told = self._tell(failure)
        for key in before.keys() - self._lasting.keys():
            log("failure over", ledger=self._watched.name, key=key)
        if self._lasting != before or failures:
            try:
                self._state.write_alarms(list(self._lasting.values()))
            except StateError as error:
                log("state not written", ledger=self._watched.name, what=str(error))

    def _tell(self, failure: Failure) -> bool:
        log("alarm", **self._facts(failure))
        if self._webhook is None:
            return True
        try:
            self._webhook.send(self._watched.name, self._watched.verifier.name, failure)
        except WebhookError as error:
            self._metrics.webhook_failed(self._watched.name)
            log("webhook failed", **self._facts(failure), what=str(error))
            return False
        return True

    def _facts(self, failure: Failure) -> dict[str, object]:
        return {"ledger": self._watched.name, "origin": self._watched.verifier.name, "kind": failure.kind}
