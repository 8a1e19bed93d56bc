"""A process that keeps a server busy with batches, as fast as it goes or at a rate (driven by `benchmarks.driven`).

Commands, in this order: {"batch": N} says how many entries a batch has; {"prepare": M} seals M batches and keeps them;
{"entries_per_s": R} begins to send, first what was prepared, then what is sealed as it goes (R is 0 for as fast as it
goes); {"stop": true} ends that, and is answered with the entries that were acknowledged and the seconds it took.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from benchmarks import driven
from benchmarks.bodies import Bodies, sealed
from benchmarks.feed import Feed
from lineage_ledger.emitter.sealer import SealedBatch


def main() -> None:
    """Until standard input ends."""
    told = driven.commands()
    with Feed(driven.server_of(next(told))) as feed:
        batch_entries = next(told)["batch"]
        driven.done()
        endless = sealed(feed.sealer, Bodies(batch_entries), bytes(32), deque(maxlen=1))
        prepared: deque[SealedBatch] = deque()
        for command in told:
            if "prepare" in command:
                prepared.extend(next(endless) for _ in range(command["prepare"]))
                driven.done()
            elif "entries_per_s" in command:
                feed.begin(_batches(prepared, endless), command["entries_per_s"])
                driven.done()
            else:
                sent = feed.end(stop=True)
                driven.done(entries=sent.entries, seconds=sent.seconds, left=len(prepared))


def _batches(prepared: deque[SealedBatch], endless: Iterator[SealedBatch]) -> Iterator[SealedBatch]:
    """No `yield from`: it would close `endless` with the stretch that was stopped, and the chain goes on."""
    while True:
        yield prepared.popleft() if prepared else next(endless)


if __name__ == "__main__":
    main()
