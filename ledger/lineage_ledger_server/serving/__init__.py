"""Processes that serve: the one that writes, and those that only read."""
