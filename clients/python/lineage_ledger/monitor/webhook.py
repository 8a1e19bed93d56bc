"""Tells a failure to whoever is on duty: one JSON document, sent by POST."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lineage_ledger.errors import LineageError
from lineage_ledger.monitor.view import Failure
from lineage_ledger.web import HttpClient, WebError, check_url

MAX_EVIDENCE_CHARACTERS: Final = 100_000
_TIMEOUT_S: Final = 10.0
_WAITS_S: Final = (1.0, 4.0)
"""Before the second attempt, and before the third."""
_MAX_ANSWER_BYTES: Final = 64 * 1024
_SUCCESS: Final = range(200, 300)


class WebhookError(LineageError):
    """An alarm that could not be delivered; the text does not show the webhook's address, which may be a secret."""


class Webhook:
    """Where alarms go."""

    def __init__(self, url: str, stopped: threading.Event, *, ca_file: Path | None = None) -> None:
        """`stopped` ends the waits between attempts. Raises `SettingsError`."""
        check_url(url)
        self._url = url
        self._client = HttpClient(_TIMEOUT_S, 0, ca_file=ca_file)
        self._stopped = stopped

    def send(self, name: str, origin: str, failure: Failure) -> None:
        """Deliver one failure, in at most three attempts. Raises `WebhookError`."""
        document = {
            "ledger": origin,
            "name": name,
            "kind": failure.kind,
            "what": failure.what,
            "evidence": failure.evidence[:MAX_EVIDENCE_CHARACTERS],
            "evidence_folder": failure.folder,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        body = json.dumps(document).encode()
        problem = ""
        for wait_s in (*_WAITS_S, None):
            try:
                response = self._client.post(self._url, body, "application/json", _MAX_ANSWER_BYTES)
            except WebError as error:
                problem = str(error).replace(self._url, "the webhook")
            else:
                if response.status in _SUCCESS:
                    return
                problem = f"the webhook answered with HTTP status {response.status}"
            if wait_s is None or self._stopped.wait(wait_s):
                break
        raise WebhookError(problem)
