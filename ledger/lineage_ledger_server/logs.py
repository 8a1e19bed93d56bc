"""Logging of the server: structlog to standard error, events with facts, never secrets or payloads."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO, cast

import structlog

_STANDARD_ERROR = 2


class _Unfailing(io.TextIOBase):
    """Standard error without a buffer, whose failures are passed over.

    A log on a full disk must not stop the ledger, least of all then; and what a buffer could not write would make the
    process end with a failure.
    """

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            os.write(_STANDARD_ERROR, text.encode(errors="backslashreplace"))
        return len(text)


def configure_logs(log_format: str) -> None:
    """`console` for people, `json` for programs: one object a line."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Unfailing())),
        cache_logger_on_first_use=True,
    )
