"""Watches ledgers: each round what a ledger signed last is linked to what it signed before, and what is new is audited.

view       one ledger as it is watched, and one round of it
state      what a restart goes on from, in a folder
alarms     which failures are new, and telling them
webhook    to whom
metrics    the same for Prometheus
monitor    the rounds of all ledgers, until it is stopped
"""
