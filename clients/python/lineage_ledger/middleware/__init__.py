"""Middleware that puts a server's predictions on record: `asgi` for HTTP, `grpc_server` for gRPC."""
