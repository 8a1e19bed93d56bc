"""What is printed: harmless whatever is in the ledger, the same on a terminal and elsewhere, of any depth."""

from __future__ import annotations

import io
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lineage_ledger.cli import entry_view, lineage_view, output
from lineage_ledger.cli.lineage import SHOWN_LIMITS, Lineage
from lineage_ledger.cli.output import Branch, Fields, Output, Table
from lineage_ledger.cli.text import byte_size, bytes_as_text, duration, json_as_text, plural, safe, short_digest
from lineage_ledger.formats import statement
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.describe import describe
from lineage_ledger.formats.digest import parse_digest
from lineage_ledger.trace import Edge, Node, SealedEntry, subject_of_index, walk
from lineage_ledger.v1 import entry_pb2
from lineage_ledger.v1.trace_pb2 import Relation
from tests.cli.recorded_ledger import HARMLESS, HOSTILE
from tests.trace.graphs import demo
from tests.trace.small_ledger import NaiveSource, digest_text

SGR = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(view: output.View, width: int = 80) -> str:
    """What rich makes of a view, colours removed."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, markup=False, emoji=False, highlight=False)
    console.print(output._rich(view))
    file = console.file
    assert isinstance(file, io.StringIO)
    return SGR.sub("", file.getvalue())


@given(st.text(st.characters(), max_size=60))
def test_nothing_unprintable_is_printed(text: str) -> None:
    assert safe(text).isprintable()
    for view in (((text, ""),), Fields([(text, text)]), Table([text], [[text]]), Branch([(text, "")], [[(text, "")]])):
        for printed in ("".join(output._plain(view)), on_terminal(view)):
            assert all(character.isprintable() or character == "\n" for character in printed)


def test_bidirectional_and_invisible_characters_are_escaped() -> None:
    assert safe(HOSTILE) == HARMLESS
    controls = [c for c in map(chr, range(0x110000)) if unicodedata.bidirectional(c) in
                {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}]  # fmt: skip
    assert len(controls) == 9
    assert not any(control in safe("".join(controls)) for control in controls)
    assert safe("Größe 数据 \N{GRINNING FACE}") == "Größe 数据 \N{GRINNING FACE}"
    assert safe("abcdef", 4) == "abc…"


def test_a_name_cannot_style_a_terminal() -> None:
    for text in ("[bold red]x[/]", ":smile:", "https://example.com"):
        assert text in on_terminal(((text, ""),))


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (byte_size(0), "0 B"),
        (byte_size(1023), "1023 B"),
        (byte_size(1536), "1.5 KiB"),
        (byte_size(2**64 - 1), "16.0 EiB"),
        (duration(999), "999 µs"),
        (duration(1_500), "1.5 ms"),
        (duration(2_500_000), "2.5 s"),
        (plural(1, "entry", "entries"), "1 entry"),
        (plural(2_000, "file"), "2,000 files"),
        (bytes_as_text(b"abc".hex()), "abc"),
        (bytes_as_text("1b5b"), "1b5b"),
        (bytes_as_text("ff"), "ff"),
        (short_digest("sha256:" + "ab" * 32), "sha256:" + "ab" * 8 + "…"),
        (short_digest("crc32:00112233"), "crc32:00112233"),
    ],
)
def test_values_as_text(made: str, text: str) -> None:
    assert made == text


def test_json_is_one_document_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(as_json=True)
    out.view(((HOSTILE, ""),))
    out.raw(HOSTILE)
    out.show({"name": HOSTILE})
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert not set(printed) & {"\x1b", "\x9b"}


def test_a_tree_in_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    tree = Branch(
        [("root", "")],
        [[("a ", ""), ("line", "")]],
        [Branch([("child", "")], [[("below", "")]]), Branch([("last", "")])],
    )
    Output().view(tree)
    assert capsys.readouterr().out == "root\n    a line\n  child\n      below\n  last\n"


# -- lineages ------------------------------------------------------------------------------------------------


def make_lineage() -> Lineage:
    """The lineage of a prediction of the ledger that tests of traces use."""
    it = demo(8)
    source = NaiveSource(it.ledger)
    nodes = walk(source, subject_of_index(it.first_prediction + 3))
    sealed = {node.index: source.sealed_entry(node.index) for node in nodes if node.index is not None}
    names = {found.seal.body.public_key: "trainer" for found in sealed.values()}
    checkpoint = Checkpoint("example.com/l", 999, bytes(32))
    return Lineage("example.com/l", checkpoint, tuple(nodes), sealed, names, SHOWN_LIMITS)


def heads(branch: Branch) -> list[str]:
    """Heads from top to bottom."""
    found, stack = [], [branch]
    while stack:
        one = stack.pop()
        found.append("".join(text for text, _ in one.head))
        stack.extend(reversed(one.children))
    return found


def test_every_node_is_shown_in_full_once_and_named_wherever_it_is_referred_to() -> None:
    lineage = make_lineage()
    shown = heads(lineage_view.tree(lineage))
    edges = sum(len(node.edges) for node in lineage.nodes)
    assert len(shown) == edges + 1
    full = [head for head in shown if "shown above" not in head]
    resolved = [node for node in lineage.nodes if node.index is not None]
    assert len([head for head in full if "not on record" not in head]) == len(resolved)
    met: set[str] = set()
    for head in shown:
        name = re.sub(r"^[a-z ]+(\(.*?\))?: |  (shown above|not on record).*$", "", head)
        assert ("shown above" in head) == (name in met and "not on record" not in head), head
        met.add(name)


def test_a_cycle_and_a_lineage_deeper_than_any_stack() -> None:
    """Models that were each trained from the one before, the first of them from the last."""
    count = 3_000
    used = Relation.RELATION_USED
    nodes = [Node(ordinal, None, "artifact", digest_of(ordinal)) for ordinal in range(count)]
    for node in nodes:
        node.edges.append(Edge((node.ordinal or count) - 1, used, ""))
    lineage = Lineage("l", Checkpoint("l", 1, bytes(32)), tuple(nodes), {}, {}, ())
    tree = lineage_view.tree(lineage)
    assert len(heads(tree)) == count + 1
    assert len(list(output._plain(tree))) == count + 1
    assert f"{count:,} references not on record" in "".join(text for text, _ in lineage_view.summary(lineage))


def test_a_deep_tree_runs_over_the_edge_and_is_not_squeezed() -> None:
    tree = branch = Branch([("level 0", "")])
    for level in range(1, 60):
        branch.children.append(Branch([(f"level {level}", "")]))
        branch = branch.children[0]
    printed = on_terminal(tree, width=output._columns_needed(tree))
    assert len(printed.splitlines()) == 60


def digest_of(number: int) -> entry_pb2.Digest:
    return parse_digest(digest_text(str(number)))


def test_long_lists_and_values_are_cut_and_counted() -> None:
    entry = statement.run(
        kind="training",
        name="n",
        parameters={f"p{number:03}": "v" * 200 for number in range(100)},
        outputs=[digest_text(str(number)) for number in range(1_000)],
    )
    lines = ["".join(text for text, _ in line) for line in entry_view.lines(describe(entry))]
    assert max(map(len, lines)) < 300
    assert "… and 88 more parameters" in lines
    assert "… and 988 more outputs" in lines


@pytest.mark.parametrize("kind", ["genesis", "block", "seal", "conflict"])
def test_every_kind_has_a_title(kind: str) -> None:
    assert entry_view.title({"kind": kind, kind: {}}) == kind


def test_document_of_a_lineage_is_plain_and_whole() -> None:
    lineage = make_lineage()
    document = lineage_view.document(lineage)
    assert set(document) == {"verified", "origin", "checkpoint", "nodes", "limits"}
    for node, told in zip(lineage.nodes, document["nodes"], strict=True):
        assert told["resolved"] == (node.index is not None)
        assert len(told["edges"]) == len(node.edges)
        if node.index is not None:
            found: SealedEntry = lineage.sealed[node.index]
            assert told["entry"] == describe(found.entry)
            assert told["public_key"] == found.seal.body.public_key.hex()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b'{"a": 1}', '{"a": 1}'),
        (b' {\r\n\t"a": "b  c" ,\n "a": [1,\n2]\n}\n', '{ "a": "b  c" , "a": [1, 2] }'),
        ('"Größe"'.encode(), '"Größe"'),
        (b"approved", b"approved".hex()),
        (b'{"a": "\xff"}', b'{"a": "\xff"}'.hex()),
        (b'{"a": 1', b'{"a": 1'.hex()),
        (b"", ""),
        (b"[" * 20_000, (b"[" * 20_000).hex()),
        (b"9" * 20_000, (b"9" * 20_000).hex()),
    ],
)
def test_a_predicate_is_text_only_if_it_is_json(value: bytes, text: str) -> None:
    assert json_as_text(value.hex()) == text
