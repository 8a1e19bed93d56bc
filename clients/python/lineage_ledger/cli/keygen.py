"""`lineage keygen`, and the registration request that it can print."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import click

from lineage_ledger.cli.options import examples, output_option
from lineage_ledger.cli.output import Fields, Output
from lineage_ledger.cli.types import FILE
from lineage_ledger.errors import MalformedError, SignatureError
from lineage_ledger.formats import admin, keys
from lineage_ledger.formats.text import decode_base64, encode_base64

_REQUEST_WORD: Final = "lineage-registration-request"


class RegistrationRequest(NamedTuple):
    """What an admin needs to register a producer's key, without having it.

    Its text: `lineage-registration-request+<name>+<base64 of public key ‖ possession signature>`.
    """

    name: str
    public_key: bytes
    possession_signature: bytes

    @classmethod
    def of_key(cls, name: str, key: keys.SigningKey, origin: str) -> RegistrationRequest:
        """Signed with `key` for the ledger `origin`."""
        return cls(name, key.public_key, admin.prove_possession(origin, key))

    def __str__(self) -> str:
        return f"{_REQUEST_WORD}+{self.name}+{encode_base64(self.public_key + self.possession_signature)}"

    @classmethod
    def parse(cls, text: str, origin: str) -> RegistrationRequest:
        """Raises `MalformedError`, `InvalidKeyError`, or `SignatureError` if it was not signed for `origin`."""
        word, _, rest = text.strip().partition("+")
        name, _, encoded = rest.partition("+")
        if word != _REQUEST_WORD:
            raise MalformedError(f"not a registration request: it must begin with {_REQUEST_WORD}+")
        keys.check_name(name)
        material = decode_base64(encoded)
        if len(material) != keys.PUBLIC_KEY_SIZE + keys.SIGNATURE_SIZE:
            raise MalformedError("not a registration request: it is cut off, or something is left over")
        public_key, signature = material[: keys.PUBLIC_KEY_SIZE], material[keys.PUBLIC_KEY_SIZE :]
        keys.check_public_key(public_key)
        if not keys.verify(public_key, admin.signed_bytes(admin.POSSESSION_CONTEXT, origin, public_key), signature):
            raise SignatureError(
                f"the registration request was not signed by its key for the ledger {origin!r}; "
                f"make it with `lineage keygen --origin {origin}`"
            )
        return cls(name, public_key, signature)


@click.command(
    epilog=examples(
        "lineage keygen server.key --name model-server",
        "lineage keygen server.key --name model-server --origin example.com/ledger/prod",
    )
)
@click.argument("file", type=FILE, default="producer.key", metavar="[FILE]")
@click.option("--name", required=True, help="Name of the producer; no spaces and no +, 1 to 255 bytes.")
@click.option("--origin", help="Also print a registration request for this ledger, for its admin.")
@output_option
def keygen(file: Path, name: str, origin: str | None, out: Output) -> None:
    """Make a producer's signing key.

    Writes it to FILE (default: producer.key), mode 0600, and prints the public key. An existing file is never
    overwritten.
    """
    key = keys.SigningKey.generate()
    keys.write_signing_key(file, name, key)
    document = {"key_file": str(file), "name": name, "public_key": key.public_key.hex()}
    rows = [("key file", str(file)), ("name", name), ("public key", key.public_key.hex())]
    if origin is not None:
        document["request"] = str(RegistrationRequest.of_key(name, key, origin))
    out.show(document, Fields(rows))
    if origin is not None:
        # On a line by itself, so that it can be copied whole however narrow the terminal is.
        out.view((("Give this to an admin of the ledger, for `lineage producers add --request`:", "dim"),))
        out.raw(document["request"])
