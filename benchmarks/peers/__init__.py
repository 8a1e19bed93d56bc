"""What other ways of putting the same predictions on record cost: `python -m benchmarks.peers`.

A module a peer: it says what the peer is, which version, how it is set up and why; `contract` says what such a module
is made of. `environments` installs them under .cache/peers, each in an environment of its own; `worker` is the process
that runs in there, with `pool` (the entries) and `callers` (threads); `handle` is that process, seen from outside.
`rounds` runs all in turn. What a worker imports needs Python alone: its environment has the peer and nothing of ours.
"""
