"""Checks a log with PyPI's `tlog-scales`, and with nothing of ours: run by the Python that has it installed.

    python scales.py LOG VKEY SAMPLES [OLDER CHECKPOINT]...

LOG is a folder or an http URL. Prints as JSON what was checked; a check that fails is an exception.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tlog_scales import tiles
from tlog_scales.backend import make_backend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("log")
    parser.add_argument("vkey")
    parser.add_argument("samples", type=int)
    parser.add_argument("older", nargs="*", type=Path)
    options = parser.parse_args()
    vkey = Vkey.from_string(options.vkey)
    reader = TilesReader(make_backend(options.log))
    checkpoint = reader.get_checkpoint()
    checkpoint.verify(vkey)
    if checkpoint.origin != vkey.name:
        raise ValueError("the origin is not the name of the key")
    if reader.calculate_root_hash() != checkpoint.root_hash:
        raise ValueError("the tiles do not lead to the root")
    count = min(options.samples, checkpoint.size)
    for place in range(count):
        index = place * (checkpoint.size - 1) // max(1, count - 1)
        proof = reader.get_inclusion_proof(index, checkpoint.size)
        proof.check(tiles.leaf_hash(reader.get_entry(index)), checkpoint.root_hash)
    for path in options.older:
        older = Checkpoint.from_text(path.read_text())
        older.verify(vkey)
        reader.get_consistency_proof(older.size, checkpoint.size).check(older.root_hash, checkpoint.root_hash)
    print(json.dumps({"size": checkpoint.size, "inclusion": count, "consistency": len(options.older)}))


if __name__ == "__main__":
    main()
