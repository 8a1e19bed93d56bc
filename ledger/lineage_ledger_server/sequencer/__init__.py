"""Sequencing: from checked batches to indexes, blocks and signed checkpoints."""
