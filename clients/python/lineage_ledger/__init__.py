"""Client library of Lineage Ledger."""
