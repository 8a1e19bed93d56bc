"""Who catches an attack: every test says it in its marker, and each component that notices is written down here.

`attack` holds the two against each other when the test ends, and tests/docs holds the markers against the tables of
docs/threat-model.md. So a component stands in a table if, and only if, a test has seen it notice.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from lineage_ledger.audit import Report
from lineage_ledger.errors import LineageError, RpcError
from lineage_ledger.monitor.monitor import Monitor

COMPONENTS: Final = ("server", "emitter", "client", "receipt verifier", "audit", "monitor", "witness", "start")
"""The words of the threat model's table "Who catches"."""

TWO_TREES: Final = "of the same size|does not go on"
"""What a fork is called. (A ledger that stood still for a minute writes a block when it is opened: it grows by one.)"""

_noticed: set[str] = set()


def attack(*, caught_by: tuple[str, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a test as an attack that just these components catch."""
    assert set(caught_by) <= set(COMPONENTS)

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*args: Any, **fixtures: Any) -> None:
            _noticed.clear()
            test(*args, **fixtures)
            assert _noticed == set(caught_by), "the marker names others than those who noticed"

        run.caught_by = caught_by  # type: ignore[attr-defined]  # a mark on a function
        return run

    return mark


def _has_noticed(component: str) -> None:
    assert component in COMPONENTS
    _noticed.add(component)


@contextmanager
def noticed_by(component: str, error: type[LineageError], match: str) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Within, `component` must raise just this kind of error, with a text that `match`es."""
    with pytest.raises(error, match=match) as raised:
        yield raised
    assert type(raised.value) is error, f"{type(raised.value).__name__} says less, or more, than {error.__name__}"
    _has_noticed(component)


@contextmanager
def refused_by_the_server(reason: str) -> Iterator[pytest.ExceptionInfo[RpcError]]:
    """Within, the server must refuse a call for just this reason (errors.proto)."""
    with pytest.raises(RpcError) as raised:
        yield raised
    assert raised.value.reason == reason, str(raised.value)
    _has_noticed("server")


def answered_by_the_server(is_right: bool) -> None:
    """The server noticed, and gave the answer that is right nevertheless."""
    assert is_right
    _has_noticed("server")


def found_by_the_audit(report: Report, *kinds: str) -> None:
    """An audit must have found something of each of these kinds, nothing of another, and have been able to look."""
    assert report.exit_status == 1, report
    assert not report.failures, report.failures
    assert {finding.kind for finding in report.findings} == set(kinds), "\n".join(map(str, report.findings))
    _has_noticed("audit")


def told_by_the_monitor(monitor: Monitor, kind: str) -> None:
    """A round of a monitor, of the one ledger "prod", must raise the alarm of this kind and no other."""
    assert monitor.once() == 1
    exposition = {
        sample.labels["kind"]: sample.value
        for metric in monitor.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "lineage_monitor_failing"
    }
    assert [name for name, value in exposition.items() if value] == [kind]
    _has_noticed("monitor")


def refused_by_the_witness(status: int, expected: int) -> None:
    """A witness must have answered with this status of the protocol (C2SP tlog-witness)."""
    assert status == expected
    _has_noticed("witness")


def start_refused(said: str, match: str) -> None:
    """A server must not have started, and have said why."""
    assert re.search(match, said), said
    _has_noticed("start")
