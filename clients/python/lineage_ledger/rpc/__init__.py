"""Calls over the network; the only room that imports `grpc`.

`endpoint` and `methods` do not import it and may be imported by anybody; `channels`, `connection` and `aio` do, so
the rest of the package imports those only when the first call is made.
"""

import os

# Read by grpc when it is imported, so it is here, which is imported before. Without it a process that forks while
# grpc's threads run may hang (`lineage_ledger.emitter.forking`).
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "1")
