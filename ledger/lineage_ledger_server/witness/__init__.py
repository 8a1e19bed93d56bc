"""A witness (C2SP tlog-witness v1.0.0): cosigns checkpoints of the logs it knows, as long as they only grow."""
