"""Measurements; each `python -m benchmarks.NAME [--quick] [--json]` prints what it measured."""
