"""Generated from proto/lineage_ledger/v1 by `make proto`; not edited."""
