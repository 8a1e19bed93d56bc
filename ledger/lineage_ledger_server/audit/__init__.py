"""The audit of a data folder: its log, the rows beside the entries, its head record, its derived indexes."""
