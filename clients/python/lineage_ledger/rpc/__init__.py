"""Calls over the network; the only room that imports `grpc`.

`endpoint` and `methods` do not import it and may be imported by anybody; `channels`, `connection` and `aio` do, so
the rest of the package imports those only when the first call is made.
"""
