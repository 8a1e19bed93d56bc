"""A serving process for the crash tests: emits until told to stop, and notes what it was promised.

    writer.py SERVER VERIFIER_KEY KEY_FILE NOTES [SPOOL]

Each prediction's input commitment is the hash of the process and a count, so it can be told from any other. NOTES gets
a line `intended COMMITMENT` before each prediction, `emitted ID COMMITMENT` after it and `acknowledged COUNT` when
nothing is pending; on SIGTERM all is flushed, then `done` is written. A prediction may be sealed before its process is
killed and `emitted` is not on file yet; `intended` is.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

from lineage_ledger.emitter import Backoff, Emitter, Policy

BURST = 200


def main() -> None:
    server, verifier_key, key_file, notes_path, *spool = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    emitter = Emitter(
        server,
        ledger=verifier_key,
        key=key_file,
        spool=spool[0] if spool else None,
        policy=Policy(linger_ms=5, backoff=Backoff(least_s=0.02, most_s=0.2)),
    )
    binding = emitter.bind(bytes(range(32)))
    count = 0
    with Path(notes_path).open("a") as notes:

        def note(line: str) -> None:
            notes.write(line + "\n")

        note("\nbegun")  # the line before it may be cut off, in an earlier life
        notes.flush()
        while not stop.is_set():
            burst = [hashlib.sha256(f"{os.getpid()} {n}".encode()).digest() for n in range(count, count + BURST)]
            for commitment in burst:
                note(f"intended {commitment.hex()}")
            notes.flush()
            for commitment in burst:
                note(f"emitted {binding.emit(commitment, commitment, duration_us=1)} {commitment.hex()}")
            count += BURST
            notes.flush()
            if emitter.statistics.pending == 0:
                note(f"acknowledged {count}")
                notes.flush()
            time.sleep(0.02)
        emitter.flush(60)
        note(f"acknowledged {count}")
        emitter.close(30)
        note("done")


if __name__ == "__main__":
    main()
