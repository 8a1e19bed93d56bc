"""Formats of the ledger: bytes to meaning and back, without I/O."""
