"""`lineage demo`: the main job on real input, with the commands a user would type."""
