"""The log as files (C2SP tlog-tiles v1.0.0): what `lineage export` writes and `lineage serve --http` serves."""
