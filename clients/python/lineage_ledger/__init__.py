"""Client library of Lineage Ledger: puts predictions on record, and proves what is on record.

    Emitter, Policy         put predictions on record from a serving process
    commit, commit_many,    make the commitments that a prediction holds
      derive_key
    Client, AsyncClient     ask a ledger's server, with proofs
    PredictionId            names a prediction
    SigningKey              a producer's or admin's key

Importing the package imports none of these, and no grpc; each comes when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lineage_ledger.aio import AsyncClient
    from lineage_ledger.client import Client
    from lineage_ledger.emitter import Binding, Emitter, LoggedStatement, Policy, WhenFull
    from lineage_ledger.errors import LineageError, RpcError
    from lineage_ledger.formats.commitment import commit, commit_many, derive_key
    from lineage_ledger.formats.keys import SigningKey, read_signing_key, write_signing_key
    from lineage_ledger.formats.prediction import PredictionId
    from lineage_ledger.rpc.endpoint import Endpoint

_MODULES = {
    "AsyncClient": "aio",
    "Binding": "emitter",
    "Client": "client",
    "Emitter": "emitter",
    "Endpoint": "rpc.endpoint",
    "LineageError": "errors",
    "LoggedStatement": "emitter",
    "Policy": "emitter",
    "PredictionId": "formats.prediction",
    "RpcError": "errors",
    "SigningKey": "formats.keys",
    "WhenFull": "emitter",
    "commit": "formats.commitment",
    "commit_many": "formats.commitment",
    "derive_key": "formats.commitment",
    "read_signing_key": "formats.keys",
    "write_signing_key": "formats.keys",
}

__all__ = [
    "AsyncClient",
    "Binding",
    "Client",
    "Emitter",
    "Endpoint",
    "LineageError",
    "LoggedStatement",
    "Policy",
    "PredictionId",
    "RpcError",
    "SigningKey",
    "WhenFull",
    "commit",
    "commit_many",
    "derive_key",
    "read_signing_key",
    "write_signing_key",
]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
