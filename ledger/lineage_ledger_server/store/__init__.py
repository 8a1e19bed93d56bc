"""Everything on LMDB, and nothing else imports `lmdb`."""
