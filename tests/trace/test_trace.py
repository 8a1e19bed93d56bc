"""Walks over graphs: what is found, in which order, and where it ends."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from lineage_ledger import trace
from lineage_ledger.formats import statement
from lineage_ledger.formats.digest import parse_digest
from lineage_ledger.trace import Edge, NotTraceableError, TraceLimitError, subject_of_digest, subject_of_index, walk
from lineage_ledger.v1.trace_pb2 import Relation
from tests.trace.graphs import demo
from tests.trace.small_ledger import NaiveSource, SmallLedger, digest_text

if TYPE_CHECKING:
    from lineage_ledger.trace import Node


def shape(nodes: list[Node]) -> list[tuple[int | None, list[tuple[int, str, str]]]]:
    return [
        (
            node.index,
            [(e.from_ordinal, Relation.Name(e.relation).removeprefix("RELATION_"), e.role) for e in node.edges],
        )
        for node in nodes
    ]


def test_demo_from_a_prediction() -> None:
    it = demo(5)
    at = it.statements
    nodes = walk(NaiveSource(it.ledger), subject_of_index(it.first_prediction + 2))
    assert shape(nodes) == [
        (it.first_prediction + 2, []),
        (at["deployment"], [(0, "MADE_WITH", "")]),
        (at["model"], [(1, "MODEL", "")]),
        (None, [(1, "CONFIGURATION", "")]),
        (at["code"], [(1, "CODE", ""), (5, "CODE", ""), (10, "CODE", "")]),
        (at["train"], [(2, "WAS_GENERATED_BY", "")]),
        (at["attestation"], [(2, "ATTESTED_BY", "")]),
        (at["clean"], [(5, "USED", "training")]),
        (None, [(5, "USED", "validation")]),
        (at["environment"], [(5, "ENVIRONMENT", "")]),
        (at["prepare"], [(7, "WAS_GENERATED_BY", "")]),
        (at["raw"], [(10, "USED", "source")]),
    ]
    assert {node.kind for node in nodes} == {"prediction", "deployment", "artifact", "run", "attestation"}
    assert [node.ordinal for node in nodes] == list(range(len(nodes)))


def test_unresolved_deployment_ends_the_walk() -> None:
    ledger = SmallLedger()
    chain = ledger.register("server")
    ledger.predictions(chain, 1, b"\x01" * 32)
    nodes = walk(NaiveSource(ledger), subject_of_index(ledger.size - 2))
    assert [(node.kind, node.index) for node in nodes] == [("prediction", ledger.size - 2), ("deployment", None)]
    assert nodes[1].deployment_hash == b"\x01" * 32


def test_binding_to_something_else_is_unresolved() -> None:
    ledger = SmallLedger()
    chain = ledger.register("server")
    artifact = statement.artifact(kind="model", digest=digest_text("m"), name="m")
    ledger.batch(chain, [artifact])
    ledger.predictions(chain, 1, statement.statement_hash(artifact))
    nodes = walk(NaiveSource(ledger), subject_of_index(ledger.size - 2))
    assert [(node.kind, node.index) for node in nodes] == [("prediction", ledger.size - 2), ("deployment", None)]


def test_cycles_end_and_are_seen() -> None:
    ledger = SmallLedger()
    chain = ledger.register("trainer")
    a, b = digest_text("a"), digest_text("b")
    run_ab, run_ba, self_run = ledger.batch(
        chain,
        [
            statement.run(kind="training", name="ab", inputs=[a], outputs=[b]),
            statement.run(kind="training", name="ba", inputs=[b], outputs=[a]),
            statement.run(kind="training", name="self", inputs=[(a, "self")], outputs=[a]),
        ],
    )
    nodes = walk(NaiveSource(ledger), subject_of_digest(parse_digest(a)))
    assert [node.index for node in nodes] == [None, run_ba, self_run, None, run_ab]
    assert nodes[0].edges == [
        Edge(2, Relation.RELATION_USED, "self"),
        Edge(4, Relation.RELATION_USED, ""),
    ]


def test_artifact_is_one_node_however_it_is_reached() -> None:
    ledger = SmallLedger()
    chain = ledger.register("trainer")
    first, second, run = ledger.batch(
        chain,
        [
            statement.artifact(kind="dataset", digest=digest_text("d"), name="first"),
            statement.artifact(kind="dataset", digest=digest_text("d"), name="second"),
            statement.run(kind="training", name="r", inputs=[digest_text("d")], outputs=[digest_text("d")]),
        ],
    )
    nodes = walk(NaiveSource(ledger), subject_of_digest(parse_digest(digest_text("d"))))
    assert [node.index for node in nodes] == [first, run]
    nodes = walk(NaiveSource(ledger), subject_of_index(second))
    assert [node.index for node in nodes] == [second, run]
    assert [edge.from_ordinal for edge in nodes[0].edges] == [1]


def test_only_sealed_statements_and_predictions_are_subjects() -> None:
    it = demo(1)
    source = NaiveSource(it.ledger)
    seal = it.ledger.sealed[it.first_prediction].seal_index
    it.ledger.sealed[seal] = it.ledger.sealed[it.first_prediction].__class__(
        seal, it.ledger.entries[seal], seal, it.ledger.sealed[it.first_prediction].seal
    )
    with pytest.raises(NotTraceableError, match=f"entry {seal} is a seal"):
        walk(source, subject_of_index(seal))


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    it = demo(1)
    source = NaiveSource(it.ledger)
    whole = walk(source, subject_of_index(it.first_prediction))
    monkeypatch.setattr(trace, "MAX_NODES", len(whole))
    assert walk(source, subject_of_index(it.first_prediction)) == whole
    monkeypatch.setattr(trace, "MAX_NODES", len(whole) - 1)
    with pytest.raises(TraceLimitError) as caught:
        walk(source, subject_of_index(it.first_prediction))
    assert caught.value.metadata == {"limit": "trace_nodes", "value": str(len(whole) - 1)}
    monkeypatch.setattr(trace, "MAX_NODES", 100)
    monkeypatch.setattr(trace, "MAX_EDGES", sum(len(node.edges) for node in whole) - 1)
    with pytest.raises(TraceLimitError, match="references"):
        walk(source, subject_of_index(it.first_prediction))


def test_fan_out_keeps_the_first() -> None:
    ledger = SmallLedger()
    chain = ledger.register("trainer")
    runs = ledger.batch(
        chain, [statement.run(kind="training", name=str(n), outputs=[digest_text("m")]) for n in range(5)]
    )
    subject = subject_of_digest(parse_digest(digest_text("m")))
    assert [node.index for node in walk(NaiveSource(ledger), subject, max_fan_out=2)] == [None, *runs[:2]]
    assert [node.index for node in walk(NaiveSource(ledger), subject)] == [None, *runs]


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_against_reachability(seed: int) -> None:
    """Every reference of every reached run is an edge, and nothing else is."""
    rng = random.Random(seed)
    names = [f"d{n}" for n in range(12)]
    ledger = SmallLedger()
    chain = ledger.register("trainer")
    entries = [statement.artifact(kind="dataset", digest=digest_text(n), name=n) for n in names if rng.random() < 0.6]
    edges: list[tuple[str, list[str], list[str]]] = []
    for number in range(10):
        used, made = rng.sample(names, rng.randint(0, 3)), rng.sample(names, rng.randint(1, 2))
        edges.append((f"r{number}", used, made))
        entries.append(
            statement.run(
                kind="training",
                name=f"r{number}",
                inputs=[digest_text(n) for n in used],
                outputs=[digest_text(n) for n in made],
            )
        )
    ledger.batch(chain, entries)
    nodes = walk(NaiveSource(ledger), subject_of_digest(parse_digest(digest_text("d0"))))
    reached, waiting = {"d0"}, ["d0"]
    expected: set[tuple[str, str]] = set()
    while waiting:
        name = waiting.pop()
        behind = [r for r, _, made in edges if name in made] if name[0] == "d" else {r: u for r, u, _ in edges}[name]
        for other in behind:
            expected.add((name, other))
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    label = {digest_text(n): n for n in names}

    def name_of(node: Node) -> str:
        if node.digest is not None:
            return label["sha256:" + node.digest.value.hex()]
        assert node.index is not None
        return f"r{node.index - (ledger.size - 1 - 10)}"

    found = [(name_of(nodes[edge.from_ordinal]), name_of(node)) for node in nodes for edge in node.edges]
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert {name_of(node) for node in nodes} == reached
