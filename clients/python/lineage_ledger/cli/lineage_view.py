"""A lineage as a tree for people and as plain data for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lineage_ledger.cli import entry_view
from lineage_ledger.cli.lineage import Lineage
from lineage_ledger.cli.output import Branch, Line, Span
from lineage_ledger.cli.text import plural, short_digest
from lineage_ledger.formats.describe import describe
from lineage_ledger.formats.digest import format_digest
from lineage_ledger.formats.strict import parse_entry
from lineage_ledger.receipts import Suspicion
from lineage_ledger.trace import Node
from lineage_ledger.v1.trace_pb2 import Relation

_SHORT_KEY = 12
_SUSPECT = "its key was declared compromised, and it came on record when that is suspect already"
_UNKNOWN = "its key was declared compromised, and when it came on record is not shown"
_DOUBTS: Mapping[Suspicion, Line] = {
    Suspicion.SUSPECT: (("suspect", "bold red"), (f": {_SUSPECT}", "")),
    Suspicion.UNKNOWN: (("perhaps suspect", "bold yellow"), (f": {_UNKNOWN}", "")),
}


class _Reference(NamedTuple):
    """From a node to one that it came from."""

    to_ordinal: int
    relation: Relation
    role: str


def tree(lineage: Lineage) -> Branch:
    """The lineage from its subject on, what a node refers to in the order in which the trace lists it.

    A node is shown in full where it is met first, from top to bottom; everywhere else it is named.
    """
    references = _references(lineage.nodes)
    root = Branch([])
    shown: set[int] = set()
    stack: list[tuple[Branch, _Reference]] = [(root, _Reference(0, Relation.RELATION_UNSPECIFIED, ""))]
    while stack:
        branch, reference = stack.pop()
        node = lineage.nodes[reference.to_ordinal]
        is_shown = node.ordinal in shown
        shown.add(node.ordinal)
        branch.head = [*_relation(reference), *_head(lineage, node, is_shown=is_shown)]
        if not is_shown:
            branch.lines = _lines(lineage, node)
            branch.children = [Branch([]) for _ in references[node.ordinal]]
            # The last one on the stack is drawn next, so that "shown above" is true.
            stack.extend(reversed(list(zip(branch.children, references[node.ordinal], strict=True))))
    return root


def summary(lineage: Lineage) -> Line:
    """One line: what was verified, under which checkpoint."""
    unresolved = sum(node.index is None for node in lineage.nodes)
    checkpoint = lineage.checkpoint
    missing = f"; {plural(unresolved, 'reference')} not on record" if unresolved else ""
    entries = plural(len(lineage.sealed), "entry", "entries")
    return (
        ("verified", "bold green"),
        (f": {entries}, each in the tree of {checkpoint.size:,} entries that {lineage.origin} signed, ", ""),
        (f"root {checkpoint.root.hex()[:16]}…{missing}", ""),
    )


def doubts(lineage: Lineage) -> list[Line]:
    """How many entries are suspect, a line each; none if none is."""
    found: list[Line] = []
    shown = [lineage.suspicion.get(index) for index in lineage.sealed]
    if suspect := shown.count(Suspicion.SUSPECT):
        found.append((("suspect", "bold red"), (f": {plural(suspect, 'entry', 'entries')}; {_SUSPECT}", "")))
    if unknown := shown.count(Suspicion.UNKNOWN):
        found.append((("perhaps suspect", "bold yellow"), (f": {plural(unknown, 'entry', 'entries')}; {_UNKNOWN}", "")))
    return found


def limits(lineage: Lineage) -> list[Line]:
    """What is not shown, a line each."""
    return [((f"not shown: {limit}", "dim"),) for limit in lineage.limits]


def document(lineage: Lineage) -> dict[str, Any]:
    """All of it as plain data."""
    return {
        "verified": True,
        "origin": lineage.origin,
        "checkpoint": {"tree_size": lineage.checkpoint.size, "root": lineage.checkpoint.root.hex()},
        "nodes": [_node_document(lineage, node) for node in lineage.nodes],
        "limits": list(lineage.limits),
    }


def _references(nodes: tuple[Node, ...]) -> Mapping[int, list[_Reference]]:
    """What each node refers to: the edges, turned around, in the order of `Relation`."""
    found: dict[int, list[_Reference]] = {node.ordinal: [] for node in nodes}
    for node in nodes:
        for edge in node.edges:
            found[edge.from_ordinal].append(_Reference(node.ordinal, edge.relation, edge.role))
    for references in found.values():
        references.sort(key=lambda reference: reference.relation)
    return found


def _head(lineage: Lineage, node: Node, *, is_shown: bool) -> list[Span]:
    if node.index is None:
        return [(_unresolved(node), ""), ("  not on record", "bold yellow")]
    described = describe(lineage.sealed[node.index].entry)
    name = (
        f"prediction {_prediction_id(lineage, node.index)}"
        if node.kind == "prediction"
        else entry_view.title(described)
    )
    if is_shown:
        return [(name, ""), (f"  shown above, index {node.index}", "dim")]
    return [(name, "bold")]


def _lines(lineage: Lineage, node: Node) -> list[Line]:
    if node.index is None:
        return []
    sealed = lineage.sealed[node.index]
    public_key = sealed.seal.body.public_key
    signer = f"{lineage.producer_names[public_key]} ({public_key.hex()[:_SHORT_KEY]}…)"
    proof: Line = ((f"index {node.index}, signed by {signer}, ", "dim"), ("verified", "green"))
    doubt = _DOUBTS.get(lineage.suspicion.get(node.index, Suspicion.NONE))
    return [proof, *([doubt] if doubt else []), *entry_view.lines(describe(sealed.entry))]


def _relation(reference: _Reference) -> list[Span]:
    if reference.relation == Relation.RELATION_UNSPECIFIED:
        return []
    name = relation_name(reference.relation).replace("_", " ")
    return [(f"{name}{f' ({reference.role})' if reference.role else ''}: ", "cyan")]


def relation_name(relation: Relation) -> str:
    """The lower-case name, such as "made_with"."""
    return Relation.Name(relation).removeprefix("RELATION_").lower()


def _unresolved(node: Node) -> str:
    if node.digest is not None:
        return f"artifact {short_digest(format_digest(node.digest))}"
    return f"deployment {short_digest(node.deployment_hash.hex())}"


def _prediction_id(lineage: Lineage, index: int) -> str:
    sealed = lineage.sealed[index]
    return str(sealed.prediction_id(parse_entry(sealed.entry).prediction))


def _node_document(lineage: Lineage, node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ordinal": node.ordinal,
        "resolved": node.index is not None,
        "edges": [
            {"from_ordinal": edge.from_ordinal, "relation": relation_name(edge.relation)}
            | ({"role": edge.role} if edge.role else {})
            for edge in node.edges
        ],
    }
    if node.digest is not None:
        found["digest"] = format_digest(node.digest)
    if node.deployment_hash:
        found["deployment_hash"] = node.deployment_hash.hex()
    if node.index is not None:
        sealed = lineage.sealed[node.index]
        public_key = sealed.seal.body.public_key
        found |= {
            "index": node.index,
            "seal_index": sealed.seal_index,
            "public_key": public_key.hex(),
            "producer_name": lineage.producer_names[public_key],
            "entry": describe(sealed.entry),
        }
        if node.index in lineage.suspicion:
            found["suspicion"] = str(lineage.suspicion[node.index])
        if node.kind == "prediction":
            found["prediction_id"] = _prediction_id(lineage, node.index)
    return found
