"""The ledger's key and its changes, from genesis on."""

from collections.abc import Callable, Mapping

from tests.second_verifier.notes import NoteError, VerifierKey, key_is_sound, signature_holds, vkey_of
from tests.second_verifier.strict import Entry
from tests.second_verifier.verifier import signed_bytes

MOST_CHANGES = 1000


def follow(pinned: VerifierKey, genesis: Entry, changes: Mapping[int, Entry]) -> Callable[[int], VerifierKey]:
    """The key in force at each size. `changes` by index; NoteError if they do not hold, or lead past the pin."""

    def need(holds: bool, why: str) -> None:
        if not holds:
            raise NoteError(why)

    origin, admins = genesis.fields["origin"], genesis.fields["admin_public_keys"]
    need(genesis.kind == "genesis" and origin == pinned.name, "a genesis of another origin")
    need(len(changes) <= MOST_CHANGES, "too many changes of the ledger's key")
    keys = [(0, genesis.fields["ledger_public_key"])]
    for index, change in sorted(changes.items()):
        fields, body = change.fields, change.body
        old, new = body["old_public_key"], body["new_public_key"]
        need(change.kind == "ledger_key" and index > keys[-1][0], "not a change of the key")
        need(old == keys[-1][1], "a change of a key that is not in force")
        need(key_is_sound(new) and new not in [key for _, key in keys], "a new key that is unsound or not new")
        message = signed_bytes("ledger-key", origin, fields["body"])
        signers = ((old, "old_signature"), (new, "new_signature"), (fields["admin_public_key"], "admin_signature"))
        for key, name in signers:
            need(signature_holds(key, message, fields[name]), f"a change whose {name} does not hold")
        need(fields["admin_public_key"] in admins, "a change by no administrator")
        keys.append((index, new))
    need(pinned.public_key in [key for _, key in keys], "the pinned key was never the ledger's")
    return lambda size: vkey_of(origin, [key for index, key in keys if index < max(size, 1)][-1])
