"""Where an audit reads a log from: an exported folder, the same over HTTP, a gRPC server. Nothing of it is trusted.

What is missing, or cannot be what it should be, raises `LineageError`, which is a finding. What could not be read now,
because a server is away or a disk fails, raises `OSError`: an audit then says that it could not be carried out.
"""
