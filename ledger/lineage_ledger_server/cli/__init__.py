"""The commands of `lineage` that need the server."""
