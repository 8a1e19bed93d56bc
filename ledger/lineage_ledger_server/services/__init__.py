"""gRPC edge of the ledger: validates, calls, and maps errors to statuses in one place."""
