"""Gets this ledger's checkpoints cosigned by the witnesses of a policy (C2SP tlog-witness v1.0.0)."""
