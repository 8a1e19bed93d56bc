"""Receipts that must be refused: parts taken out, put in or replaced, as well as one who has the whole log can."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from lineage_ledger.formats import merkle
from lineage_ledger.formats.receipt import Receipt
from tests.trace.graphs import Demo
from tests.trace.small_ledger import Leaves


def rebuilt(it: Demo, parsed: Receipt, indexes: set[int], opening: int | None = None) -> bytes:
    """A receipt over other entries of the same ledger, with proofs that are right for them.

    `opening` is the seal without a line 'batch': that of the prediction's chain, if not said otherwise.
    """
    ledger = it.ledger
    leaves = ledger.hashes()
    seals = {item.seal_index: item.seal for item in ledger.sealed.values() if item.seal_index in indexes}
    batches = {}
    if opening is None:
        opening = it.server.first_seal_index
    for seal_index, parsed_seal in sorted(seals.items()):
        if seal_index == opening:
            continue
        first = seal_index - parsed_seal.body.count
        places = [index - first for index in sorted(indexes) if first <= index < seal_index]
        proof = (
            merkle.multiproof(places, parsed_seal.body.count, Leaves(leaves.leaves[first:seal_index])) if places else []
        )
        batches[seal_index] = tuple(proof)
    tree = tuple(merkle.multiproof(sorted(indexes), ledger.size, leaves))
    entries = {index: ledger.entries[index] for index in sorted(indexes)}
    return dataclasses.replace(parsed, entries=entries, batches=batches, tree=tree).encode()


def without(name: str) -> Callable[[Demo, Receipt], bytes]:
    def strip(it: Demo, parsed: Receipt) -> bytes:
        sealed = it.ledger.sealed
        prediction = next(index for index in parsed.entries if index in sealed and index >= it.first_prediction)
        victim = {
            "genesis": {0},
            "block": {index for index, entry in parsed.entries.items() if entry[0] >> 3 == 9},
            "prediction": {prediction},
            "seal": {sealed[prediction].seal_index},
            "registration": {it.server.registered_index},
            "opening": {it.server.first_seal_index},
            "prediction and seal": {prediction, sealed[prediction].seal_index},
        }[name]
        return rebuilt(it, parsed, set(parsed.entries) - victim)

    return strip


def plus(*names: str) -> Callable[[Demo, Receipt], bytes]:
    """With more entries than belong there."""

    def add(it: Demo, parsed: Receipt) -> bytes:
        extra = {
            "another prediction": it.first_prediction + 8,
            "unrelated statement": it.statements["unrelated"],
            "another block": 1,
            "seal of an empty batch": it.trainer.first_seal_index,
            "later statement": it.trainer.last_seal_index - 1,
            "its seal": it.trainer.last_seal_index,
        }
        return rebuilt(it, parsed, set(parsed.entries) | {extra[name] for name in names})

    return add


def replaced(**changes: Callable[[Receipt], object]) -> Callable[[Demo, Receipt], bytes]:
    """With other values of fields, proofs as they were."""

    def replace(it: Demo, parsed: Receipt) -> bytes:
        values = {name: change(parsed) for name, change in changes.items()}
        return dataclasses.replace(parsed, **values).encode()  # type: ignore[arg-type]  # by name

    return replace


def opened_by_another(it: Demo, parsed: Receipt) -> bytes:
    """With the opening seal of another chain in place of that of the prediction's."""
    other = it.trainer.first_seal_index
    return rebuilt(it, parsed, set(parsed.entries) - {it.server.first_seal_index} | {other}, other)


CHANGES: Mapping[str, Callable[[Demo, Receipt], bytes]] = {
    "no opening seal": without("opening"),
    "an opening seal of another chain": opened_by_another,
    "no genesis": without("genesis"),
    "no block": without("block"),
    "no prediction": without("prediction"),
    "no seal of the prediction": without("seal"),
    "no registration": without("registration"),
    "neither prediction nor seal": without("prediction and seal"),
    "two predictions": plus("another prediction"),
    "a statement that the prediction does not lead to": plus("unrelated statement"),
    "two blocks": plus("another block"),
    "a seal that closes nothing here": plus("seal of an empty batch"),
    "a second statement of an artifact": plus("later statement", "its seal"),
    "a statement without its seal": plus("later statement"),
    "id with another number": replaced(
        prediction_id=lambda r: r.prediction_id._replace(number=r.prediction_id.number + 1)
    ),
    "id with another commitment": replaced(prediction_id=lambda r: r.prediction_id._replace(input_prefix=bytes(4))),
    "id with another chain": replaced(prediction_id=lambda r: r.prediction_id._replace(chain_id=bytes(16))),
    "a batch too many": replaced(batches=lambda r: {1: (), **r.batches}),
    "a batch too few": replaced(batches=lambda r: dict(list(r.batches.items())[1:])),
}
"""Those that only the receipt's own rules refuse: form, checkpoint and tree are right."""

PROOFS: Mapping[str, Callable[[Demo, Receipt], bytes]] = {
    "a hash too many in the tree": replaced(tree=lambda r: (*r.tree, bytes(32))),
    "a hash too few in the tree": replaced(tree=lambda r: r.tree[:-1]),
    "another hash in the tree": replaced(tree=lambda r: (bytes(32), *r.tree[1:])),
    "a hash too many in a batch": replaced(batches=lambda r: {i: (*h, bytes(32)) for i, h in r.batches.items()}),
    "another hash in a batch": replaced(batches=lambda r: {i: (bytes(32), *h[1:]) for i, h in r.batches.items()}),
    "another entry": replaced(entries=lambda r: {i: e[:-1] + bytes((e[-1] ^ 1,)) for i, e in r.entries.items()}),
    "another checkpoint": replaced(checkpoint=lambda r: r.checkpoint.replace(b"\n326\n", b"\n325\n")),
}

FORM: Mapping[str, tuple[str, str]] = {
    "another version": ("receipt/v1\n", "receipt/v2\n"),
    "CRLF": ("receipt/v1\n", "receipt/v1\r\n"),
    "a leading zero": ("\nentry 0 ", "\nentry 00 "),
    "two spaces": ("\nentry 0 ", "\nentry  0 "),
    "a space at a line's end": ("\n\n", " \n\n"),
    "a line of another form": ("\ntree ", "\nextra AAAA\ntree "),
    "entries out of order": ("\nprediction ", "\nentry 999999999 AAAA\nprediction "),
    "base64 without padding": ("==\n", "\n"),
}
"""What is replaced by what, once, in a receipt that is right."""
