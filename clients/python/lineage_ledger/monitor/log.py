"""What a monitor says on standard error: one JSON object a line."""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC, datetime

_STANDARD_ERROR = 2


def log(event: str, **facts: object) -> None:
    """Write one line, whole. A log on a full disk stops nothing."""
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    line = json.dumps({"time": time, "event": event, **facts}) + "\n"
    with contextlib.suppress(OSError):
        os.write(_STANDARD_ERROR, line.encode())
