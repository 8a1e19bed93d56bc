"""Derived indexes: what can be found quickly, rebuilt from the log at will."""
