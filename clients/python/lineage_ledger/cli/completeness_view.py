"""Completeness as plain data for programs and as tables for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from lineage_ledger.cli.output import Fields, Table, View
from lineage_ledger.cli.text import plural
from lineage_ledger.completeness import MAX_LOST_RANGES, ChainState, ChainTotals, Count, Totals, Window
from lineage_ledger.formats.describe import format_time

_SHOWN_CHAINS: Final = 1_000
_SHOWN_LOSSES: Final = 20
_COLUMNS: Final = ("chain", "state", "numbers", "predictions", "statements", "lost", "on record")


def document(
    chains: Sequence[ChainTotals], window: Window, abandoned_before_unix_ns: int, evidence: Mapping[str, Any]
) -> dict[str, Any]:
    """Stable keys; `evidence` says what supports the numbers, and what they mean."""
    totals = Totals.of(chains)
    return {
        **evidence,
        "window": {name: format_time(time) for name, time in zip(("from", "until"), window, strict=True) if time},
        "totals": {
            "chains": totals.chains,
            "predictions": _count(totals.predictions),
            "statements": totals.statements,
            "lost": _count(totals.lost),
            "deployments": {key.hex(): _count(count) for key, count in sorted(totals.by_deployment.items())},
            "states": _states(chains, abandoned_before_unix_ns),
        },
        "chains": [_chain(chain, abandoned_before_unix_ns) for chain in chains],
    }


def _chain(chain: ChainTotals, abandoned_before_unix_ns: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "chain_id": chain.chain_id.hex(),
        "public_key": chain.public_key.hex(),
        "state": chain.state(abandoned_before_unix_ns).value,
        "first_number": chain.first_number,
        "next_number": chain.next_number,
        "first_sequence": chain.first_sequence,
        "seals": chain.last_sequence - chain.first_sequence + 1,
        "last_seal_index": chain.last_seal_index,
        "predictions": _count(chain.predictions),
        "statements": chain.statements,
        "lost": _count(chain.lost),
        "lost_ranges": [{"first": first, "count": count} for first, count in chain.lost_ranges],
        "deployments": {key.hex(): _count(count) for key, count in sorted(chain.by_deployment.items())},
    }
    if chain.lost_ranges_left_out:
        found["lost_ranges_left_out"] = chain.lost_ranges_left_out
    if chain.last_on_record_unix_ns:
        found["on_record_by"] = format_time(chain.last_on_record_unix_ns)
    if chain.predecessor is not None:
        found["predecessor"] = {
            "chain_id": chain.predecessor.chain_id.hex(),
            "next_number": chain.predecessor.next_number,
        }
    if chain.successor_chain_id:
        found["successor_chain_id"] = chain.successor_chain_id.hex()
    if chain.unsealed:
        found["unsealed"] = chain.unsealed
    if chain.suspect_since_unix_ns:
        found["suspect_since"] = format_time(chain.suspect_since_unix_ns)
    if chain.conflict_index:
        found["conflict_index"] = chain.conflict_index
    return found


def views(
    chains: Sequence[ChainTotals], window: Window, abandoned_before_unix_ns: int, support: str, meaning: str
) -> Iterator[View]:
    """A table of chains, what was lost, the sums, and what they mean."""
    if chains:
        yield Table(_COLUMNS, [_row(chain, abandoned_before_unix_ns) for chain in chains[:_SHOWN_CHAINS]])
    if len(chains) > _SHOWN_CHAINS:
        yield ((f"… and {len(chains) - _SHOWN_CHAINS:,} more chains", "dim"),)
    losses = [(chain, *lost) for chain in chains for lost in chain.lost_ranges]
    for chain, first, count in losses[:_SHOWN_LOSSES]:
        yield (("declared lost: ", "yellow"), (f"numbers {first:,} to {first + count - 1:,} of {_short(chain)}", ""))
    more = len(losses) - _SHOWN_LOSSES + sum(chain.lost_ranges_left_out for chain in chains)
    if more > 0:
        yield ((f"… and {more:,} more losses; --json shows up to {MAX_LOST_RANGES:,} of a chain", "dim"),)
    yield from _doubts(chains)
    totals = Totals.of(chains)
    states = ", ".join(
        f"{count:,} {state}" for state, count in _states(chains, abandoned_before_unix_ns).items() if count
    )
    rows = [("chains", f"{totals.chains:,} ({states})" if states else "0"), ("predictions", _text(totals.predictions))]
    rows += [(f"of deployment {key.hex()[:16]}…", _text(count)) for key, count in sorted(totals.by_deployment.items())]
    rows += [("statements", f"{totals.statements:,}"), ("declared lost", _text(totals.lost))]
    if not window.is_open:
        ends = [format_time(time) if time else "…" for time in window]
        rows.append(("started between", f"{ends[0]} and {ends[1]}, by the producers' clocks"))
    rows.append(("supported by", support))
    yield Fields(rows)
    if chains:
        yield (("no number is missing", "bold green"), (" of those that the chains listed account for here", ""))
    yield ((meaning, "dim"),)


def _doubts(chains: Sequence[ChainTotals]) -> Iterator[View]:
    for chain in chains:
        if chain.unsealed:
            said = f"{_short(chain)} was recovered by one that knows of {plural(chain.unsealed, 'number')} more"
            yield (("not sealed: ", "yellow"), (f"{said}, up to {chain.successor_begins_at - 1:,}", ""))
    suspects = {chain.public_key: chain.suspect_since_unix_ns for chain in chains if chain.suspect_since_unix_ns}
    for public_key, since in suspects.items():
        count = plural(sum(chain.public_key == public_key for chain in chains), "chain")
        said = f"{count} of the compromised key {public_key.hex()}, what came on record from {format_time(since)} on"
        yield (("suspect: ", "yellow"), (said, ""))


def _row(chain: ChainTotals, abandoned_before_unix_ns: int) -> tuple[str, ...]:
    state = chain.state(abandoned_before_unix_ns)
    by = f" by {chain.successor_chain_id.hex()[:8]}…" if state is ChainState.RECOVERED else ""
    return (
        chain.chain_id.hex(),
        f"{state.value}{by}",
        f"{chain.first_number:,} to {chain.next_number - 1:,}" if chain.next_number > chain.first_number else "none",
        _text(chain.predictions),
        f"{chain.statements:,}",
        _text(chain.lost),
        format_time(chain.last_on_record_unix_ns)[:19] if chain.last_on_record_unix_ns else "",
    )


def _short(chain: ChainTotals) -> str:
    return f"chain {chain.chain_id.hex()[:8]}…"


def _states(chains: Sequence[ChainTotals], abandoned_before_unix_ns: int) -> dict[str, int]:
    found = dict.fromkeys((state.value for state in ChainState), 0)
    for chain in chains:
        found[chain.state(abandoned_before_unix_ns).value] += 1
    return found


def _count(count: Count) -> dict[str, int]:
    return {"at_least": count.at_least, "at_most": count.at_most}


def _text(count: Count) -> str:
    if count.at_least == count.at_most:
        return f"{count.at_least:,}"
    return f"{count.at_least:,} to {count.at_most:,}"
