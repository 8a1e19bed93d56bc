"""Everything that the command prints goes through here.

With `--json`, one JSON document on standard output. Otherwise views: on a terminal with rich's tables and trees, as
plain text elsewhere. Text is made harmless (`text.safe`) here and nowhere else, so that none is forgotten.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from lineage_ledger.cli.text import safe
from lineage_ledger.errors import HistoryError, LineageError, RpcError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import TaskID
    from rich.table import Table as RichTable
    from rich.text import Text
    from rich.tree import Tree

_INDENT: Final = "  "
_GUIDE_COLUMNS: Final = 4
_CELL_GAP: Final = 3
_MIN_TREE_COLUMNS: Final = 48
_MAX_CELL: Final = 4_096
_MIN_PROGRESS_BYTES: Final = 64 * 1024 * 1024
_PROGRESS_S: Final = 0.1

Span: TypeAlias = tuple[str, str]
"""Text, and how rich styles it on a terminal ("" is plain)."""
Line: TypeAlias = Sequence[Span]


@dataclass(slots=True)
class Branch:
    """A node of a tree: its head, lines below that belong to it, and what hangs on it."""

    head: Line
    lines: list[Line] = field(default_factory=list)
    children: list[Branch] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Fields:
    """Names with values, one a line."""

    rows: Sequence[tuple[str, str]]


View: TypeAlias = Branch | Table | Fields | Line


class Output:
    """Where a command prints."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def show(self, document: Any, *views: View) -> None:
        """Print the document if JSON is wanted, the views otherwise. Bytes have been made hex before."""
        if self.as_json:
            click.echo(json.dumps(document, indent=2))
            return
        for view in views:
            self.view(view)

    def view(self, view: View) -> None:
        """Print a view, unless JSON is wanted."""
        if self.as_json:
            return
        if _is_terminal():
            console = _console()
            if isinstance(view, Branch):
                console.width = max(console.width, _columns_needed(view))
            if isinstance(view, Table) and _natural_width(view) > console.width:
                for row in view.rows:
                    fields = Fields([(name, cell) for name, cell in zip(view.columns, row, strict=True) if cell])
                    console.print(_rich(fields), "", sep="\n", soft_wrap=True)
            else:
                # Fields are copied: the terminal folds them, so that no line end gets into a digest.
                console.print(_rich(view), soft_wrap=isinstance(view, Fields))
        else:
            for line in _plain(view):
                click.echo(line)

    def raw(self, text: str) -> None:
        """One line that is to be copied: never wrapped or styled."""
        if not self.as_json:
            click.echo(safe(text))

    def remark(self, text: str) -> None:
        """One line on standard error, which is no part of the answer."""
        click.echo(safe(text), err=True)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar over many bytes on a terminal's standard error, nothing elsewhere; call it with steps."""
        if self.as_json or total < _MIN_PROGRESS_BYTES or not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.fields[title]}", markup=False), BarColumn(), DownloadColumn(True))
        with Progress(*columns, TimeRemainingColumn(), console=_console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=total, title=safe(title, 32))
            yield lambda step: bar.advance(task, step)

    @contextmanager
    def counting(self) -> Iterator[Callable[[str, int, int], None] | None]:
        """Bars over many entries, with rate and remaining time, on a terminal's standard error; None elsewhere.

        Call it with a title, which has a bar of its own, and with how many are done of how many.
        """
        if self.as_json or not sys.stderr.isatty():
            yield None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        title_column = TextColumn("{task.description}", markup=False)
        rate_column = TextColumn("{task.fields[rate]}", markup=False)
        columns = (title_column, BarColumn(), MofNCompleteColumn(), rate_column, TimeRemainingColumn())
        with Progress(*columns, console=_console(stderr=True), transient=True) as bar:
            tasks: dict[str, TaskID] = {}
            due_s = 0.0

            def show(title: str, done: int, size: int) -> None:
                # A call of rich's costs more than hashing a bundle, and nobody sees more than ten a second.
                nonlocal due_s
                now_s = time.monotonic()
                if now_s < due_s and done < size and title in tasks:
                    return
                due_s = now_s + _PROGRESS_S
                if title not in tasks:
                    tasks[title] = bar.add_task(safe(title, 32), total=size, rate="")
                speed = next(task.speed for task in bar.tasks if task.id == tasks[title])
                bar.update(tasks[title], completed=done, total=size, rate=f"{speed:,.0f}/s" if speed else "")

            yield show


class Failure(click.ClickException):
    """A `LineageError` as the command ends with it; exit status 1."""

    def __init__(self, error: LineageError, *, as_json: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.as_json = as_json

    def show(self, file: Any = None) -> None:
        """On standard error: `error: …`, or a JSON object."""
        print_error(error_document(self.error) if self.as_json else safe(self.message), file)


class Unchecked(Failure):
    """What could not be checked, which is neither a yes nor a no."""

    exit_code = 2


class UsageFailure(click.UsageError):
    """A usage error for a caller who wants JSON."""

    def show(self, file: Any = None) -> None:
        print_error({"error": {"kind": "UsageError", "message": self.format_message()}}, file)


def print_error(what: str | dict[str, Any], file: Any = None) -> None:
    """An error as a line of text, or as a JSON object, on standard error."""
    text = f"error: {what}" if isinstance(what, str) else json.dumps(what)
    click.echo(text, file=file, err=True)


def error_document(error: LineageError) -> dict[str, Any]:
    """An error for programs; its keys are stable."""
    document: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, HistoryError):
        document |= {"evidence": [note.decode(errors="replace") for note in error.evidence]}
    if isinstance(error, RpcError):
        document |= {"status": error.status, "reason": error.reason, "metadata": error.metadata}
    return {"error": document}


# -- plain text ----------------------------------------------------------------------------------------------


def _plain(view: View) -> Iterator[str]:
    if isinstance(view, Table):
        rows = [[safe(cell, _MAX_CELL) for cell in row] for row in (view.columns, *view.rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield _INDENT.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    elif isinstance(view, Fields):
        width = max((len(name) for name, _ in view.rows), default=0)
        for name, value in view.rows:
            yield f"{safe(name, _MAX_CELL).ljust(width)}{_INDENT}{safe(value)}".rstrip()
    elif isinstance(view, Branch):
        # A stack, for lineages are as deep as producers make them.
        stack = [(view, 0)]
        while stack:
            branch, depth = stack.pop()
            yield _INDENT * depth + _plain_line(branch.head)
            for line in branch.lines:
                yield _INDENT * (depth + 2) + _plain_line(line)
            stack.extend((child, depth + 1) for child in reversed(branch.children))
    else:
        yield _plain_line(view)


def _plain_line(line: Line) -> str:
    return safe("".join(text for text, _ in line))


# -- a terminal ----------------------------------------------------------------------------------------------


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def _natural_width(table: Table) -> int:
    """Columns that a table takes unfolded; where there are fewer, each row is printed as fields."""
    rows = [[safe(cell, _MAX_CELL) for cell in row] for row in (table.columns, *table.rows)]
    return sum(max(map(len, column)) + _CELL_GAP for column in zip(*rows, strict=True))


def _columns_needed(root: Branch) -> int:
    """A deep tree runs over the right edge, where a reader can follow it, instead of being squeezed to nothing."""
    deepest, stack = 0, [(root, 0)]
    while stack:
        branch, depth = stack.pop()
        deepest = max(deepest, depth)
        stack.extend((child, depth + 1) for child in branch.children)
    return deepest * _GUIDE_COLUMNS + _MIN_TREE_COLUMNS if deepest else 0


def _rich(view: View) -> RenderableType:
    if isinstance(view, Branch):
        return _rich_tree(view)
    if isinstance(view, Table):
        return _rich_table(view)
    if isinstance(view, Fields):
        return _rich_fields(view)
    return _rich_text(view)


def _rich_text(line: Line) -> Text:
    from rich.text import Text

    text = Text()
    for content, style in line:
        text.append(safe(content, _MAX_CELL), style or None)
    return text


def _rich_tree(root: Branch) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    def label(branch: Branch) -> Text:
        return Text("\n").join(map(_rich_text, (branch.head, *branch.lines)))

    tree = Tree(label(root), guide_style="dim")
    stack = [(tree, root)]
    while stack:
        node, branch = stack.pop()
        stack.extend((node.add(label(child)), child) for child in branch.children)
    return tree


def _rich_table(view: Table) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable

    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in view.columns:
        table.add_column(safe(column), overflow="fold")
    for row in view.rows:
        table.add_row(*(_rich_text([(cell, "")]) for cell in row))
    return table


def _rich_fields(view: Fields) -> Text:
    from rich.text import Text

    width = max((len(name) for name, _ in view.rows), default=0)
    return Text("\n").join(_rich_text([(name.ljust(width + 2), "dim"), (value, "")]) for name, value in view.rows)
