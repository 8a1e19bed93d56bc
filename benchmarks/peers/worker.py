"""The process that appends to a peer, in that peer's environment: `python -m benchmarks.peers.worker PEER`.

It starts the peer's server, if it has one. It is told what to do in lines of JSON, and answers each with one. It ends
when there are no more lines, and the server with it, so that neither outlives the benchmark, even one that is killed.
What libraries print goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from benchmarks.peers import callers
from benchmarks.peers.contract import NotRunError, Peer, Store
from benchmarks.peers.pool import Pool


def main() -> None:
    """Answer until there is no more to answer."""
    # The benchmark decides what an interrupt ends, and in which order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    peer: Peer = importlib.import_module(sys.argv[1]).PEER
    opening = json.loads(sys.stdin.readline())
    with ExitStack() as stack:
        try:
            address = stack.enter_context(peer.serve(Path(opening["environment"]), Path(opening["folder"])))
            store = stack.enter_context(closing(peer.connect(address)))
            pool = Pool(Path(opening["pool"]), opening["entry_bytes"])
        except NotRunError as error:
            _answer(answers, {"not_run": str(error)})
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
            _answer(answers, _failure(error))
            return
        _answer(answers, {"version": store.version})
        for line in sys.stdin:
            try:
                _answer(answers, _do(peer, store, pool, json.loads(line)))
            except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
                _answer(answers, _failure(error))


def _do(peer: Peer, store: Store, pool: Pool, asked: dict[str, Any]) -> dict[str, object]:
    if asked["do"] == "check":
        store.check()
        return {}
    (case,) = (case for case in peer.cases if case.name == asked["case"])
    ran = callers.run(store, pool, case, asked["seconds"])
    return {"entries": ran.entries, "seconds": ran.seconds}


def _answer(answers: Any, said: dict[str, object]) -> None:
    answers.write(json.dumps(said) + "\n")


def _failure(error: Exception) -> dict[str, object]:
    traceback.print_exception(error)
    return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
