"""`python -m lineage_ledger.cli` is the command `lineage`."""

from lineage_ledger.cli import main

main()
