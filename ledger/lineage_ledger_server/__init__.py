"""Server of Lineage Ledger."""
