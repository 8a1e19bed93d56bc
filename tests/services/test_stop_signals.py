"""A command that serves leaves signals as it found them: what is begun afterwards can be stopped."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from lineage_ledger_server.cli.stop_signals import stop_signals
from tests.cli.recorded_ledger import run

BOTH = {signal.SIGTERM, signal.SIGINT}


def blocked() -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def test_a_server_that_cannot_start_blocks_nothing(tmp_path: Path) -> None:
    assert not blocked() & BOTH
    assert run("serve", "--data", tmp_path / "l", "--listen", "256.1.1.1:0", "--insecure").exit_code != 0
    assert not blocked() & BOTH


def test_the_first_signal_ends_the_wait_and_later_ones_do_no_harm() -> None:
    with stop_signals() as wait:
        assert blocked() >= BOTH
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        assert wait() == signal.SIGTERM
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    assert not blocked() & BOTH


def test_it_is_undone_by_errors_too() -> None:
    with pytest.raises(ValueError, match="no"), stop_signals():
        raise ValueError("no")
    assert not blocked() & BOTH
