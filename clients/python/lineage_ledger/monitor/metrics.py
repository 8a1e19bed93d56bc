"""What a monitor shows Prometheus; the only module that imports `prometheus_client` (extra `cli`)."""

from __future__ import annotations

import time
from collections.abc import Sequence

try:
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        disable_created_metrics,
        start_http_server,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("metrics need prometheus-client; install lineage-ledger[cli]", name=error.name) from error

from lineage_ledger.errors import SettingsError
from lineage_ledger.monitor.view import CONSISTENCY_KINDS, KINDS, UNREACHABLE, Failure, Round

_ROUND_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800)
_S = 1e9


class Metrics:
    """All of them have the label `ledger`, a watched ledger's name."""

    def __init__(self, names: Sequence[str]) -> None:
        """Every ledger and kind of failure is there from the start, with 0: so the first one is seen as a change."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # theirs; each counter would have a second one
        self.registry = registry = CollectorRegistry()
        one, kind = ["ledger"], ["ledger", "kind"]
        prefix = "lineage_monitor_"
        self._reachable = Gauge(
            f"{prefix}reachable", "Whether the last round reached the ledger.", one, registry=registry
        )
        self._success = Gauge(
            f"{prefix}last_success_timestamp_seconds", "When a round last found nothing wrong.", one, registry=registry
        )
        self._tree_size = Gauge(
            f"{prefix}tree_size_entries", "Entries of the newest checkpoint that was verified.", one, registry=registry
        )
        self._age = Gauge(
            f"{prefix}checkpoint_age_seconds",
            "Time since the newest audited block was written, by the ledger's clock.",
            one,
            registry=registry,
        )
        self._entries = Counter(
            f"{prefix}entries_checked", "Entries that were re-hashed and re-checked.", one, registry=registry
        )
        self._findings = Counter(f"{prefix}findings", "What audits found, by the broken rule.", kind, registry=registry)
        self._failures = Counter(f"{prefix}failures", "Failures that began, by kind.", kind, registry=registry)
        self._failing = Gauge(
            f"{prefix}failing", "Whether the last round had a failure of this kind.", kind, registry=registry
        )
        self._consistency = Counter(
            f"{prefix}consistency_failures", "Forks, rollbacks and other origins that began.", one, registry=registry
        )
        self._witnessed = Gauge(
            f"{prefix}witnessed",
            "Whether the newest checkpoint had the cosignatures of the policy; only with one.",
            one,
            registry=registry,
        )
        self._webhook_failures = Counter(
            f"{prefix}webhook_failures", "Alarms that the webhook did not take.", one, registry=registry
        )
        self._rounds = Histogram(
            f"{prefix}round_seconds", "How long a round took.", one, buckets=_ROUND_BUCKETS_S, registry=registry
        )
        for name in names:
            for metric in (self._reachable, self._success, self._tree_size, self._entries, self._consistency):
                metric.labels(name)
            self._webhook_failures.labels(name)
            self._rounds.labels(name)
            for each in KINDS:
                self._failures.labels(name, each)
                self._failing.labels(name, each)

    def observe(self, name: str, found: Round) -> None:
        """What a round found."""
        kinds = {failure.kind for failure in found.failures}
        self._reachable.labels(name).set(UNREACHABLE not in kinds)
        self._rounds.labels(name).observe(found.seconds)
        self._entries.labels(name).inc(found.entries)
        for kind in KINDS:
            self._failing.labels(name, kind).set(kind in kinds)
        if found.checkpoint is not None:
            self._tree_size.labels(name).set(found.checkpoint.size)
        if found.block_time_unix_ns:
            block_time_unix_s = found.block_time_unix_ns / _S
            self._age.labels(name).set_function(lambda: time.time() - block_time_unix_s)
        if found.is_witnessed is not None:
            self._witnessed.labels(name).set(found.is_witnessed)
        if not found.failures:
            self._success.labels(name).set_to_current_time()

    def failed(self, name: str, failure: Failure) -> None:
        """A failure began."""
        self._failures.labels(name, failure.kind).inc()
        if failure.kind in CONSISTENCY_KINDS:
            self._consistency.labels(name).inc()
        for kind in failure.findings:
            self._findings.labels(name, kind).inc()

    def webhook_failed(self, name: str) -> None:
        """An alarm was not taken."""
        self._webhook_failures.labels(name).inc()

    def serve(self, host: str, port: int) -> int:
        """Serve them at /metrics from a thread, to whoever can connect; returns the port. Raises `SettingsError`."""
        try:
            server, _ = start_http_server(port, host, self.registry)
        except OSError as error:
            raise SettingsError(f"cannot serve metrics on {host}:{port}: {error.strerror or error}") from error
        return int(server.server_port)
