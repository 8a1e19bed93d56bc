"""A server that shows its true history up to some moment of a call, and from then on another one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from lineage_ledger.agreement import Steps
from lineage_ledger.errors import HistoryError, LineageError, RpcError
from lineage_ledger.formats import packed
from lineage_ledger.operations import Operations
from lineage_ledger.v1 import entry_pb2, trace_pb2
from tests.client.test_lying_server import Server
from tests.trace.graphs import demo

FORKED_AT = 7
Ask = Callable[[Operations, Server], Steps[Any]]


def _subject(server: Server) -> str:
    return str(server.it.predictions[7])


ASKED: dict[str, Ask] = {
    "checkpoint": lambda operations, server: operations.checkpoint(),
    "entry": lambda operations, server: operations.entry(3),
    "prediction": lambda operations, server: operations.prediction(server.it.predictions[7]),
    "receipt": lambda operations, server: operations.receipt(3),
    "trace": lambda operations, server: operations.trace(trace_pb2.TraceRequest(prediction_id=_subject(server))),
    "packed": lambda operations, server: operations.packed(3, 2, _packed(server)),
    "compare": lambda operations, server: operations.compare(server.note(9)),
    "consistency": lambda operations, server: _joined(operations),
}


def _packed(server: Server) -> bytes:
    return packed.pack(server.entries[3:5])


def _joined(operations: Operations) -> Steps[Any]:
    older = yield from operations.checkpoint()
    return (yield from operations.consistency_proof(older, None))


class Forking(Server):
    """Honest for the first `honest` calls; remembers which of the two histories signed what it showed."""

    def __init__(self, server: Server, honest: int) -> None:
        self.__dict__.update(copy.copy(server.__dict__))
        self.lie = lambda request, response: None
        self.calls, self._honest = 0, honest
        self.shown: set[str] = set()

    def _answer(self, method: Any, request: Any) -> Any:
        is_forked = self.calls > self._honest
        self.entries = list(self.it.ledger.entries)
        if is_forked:
            other = entry_pb2.Entry.FromString(self.entries[FORKED_AT + 1])
            self.entries[FORKED_AT] = other.SerializeToString()
        response = super()._answer(method, request)
        if getattr(response, "checkpoint", b"") or getattr(response, "receipt", b""):
            self.shown.add("forked" if is_forked else "honest")
        return response


@pytest.fixture(scope="module")
def server() -> Server:
    return Server(demo())


@pytest.mark.parametrize("seen_before", [0, 3, 40])
@pytest.mark.parametrize("grows", [0, 1])
@pytest.mark.parametrize("name", ASKED)
def test_whenever_it_turns_no_answer_stands_on_two_histories(
    name: str, grows: int, seen_before: int, server: Server
) -> None:
    for honest in range(20):
        forking = Forking(server, honest)
        forking.size, forking.grows = len(server.entries) - 40, grows
        operations = Operations(server.it.ledger.verifier)
        if seen_before:
            operations.history.accept(server.note(seen_before), None, ())
        try:
            forking.run(ASKED[name](operations, forking))
            assert forking.shown != {"honest", "forked"}
            assert seen_before <= FORKED_AT or "forked" not in forking.shown
        except (LineageError, RpcError):
            pass
        # Whatever came of it: whoever was shown one history is not shown the other one later.
        stood = 0
        for later in (1 << 30, 0):
            again = Forking(server, later)
            again.size = len(server.entries)
            try:
                again.run(operations.checkpoint())
                stood += 1
            except HistoryError:
                pass
        assert stood <= 1
        if forking.calls <= honest:
            break
    else:
        raise AssertionError("the call never came to an end in its true history")
