"""What gRPC wants server interceptors to be derived from; the interceptors themselves are in `middleware`."""

from grpc import ServerInterceptor
from grpc.aio import ServerInterceptor as AioServerInterceptor

__all__ = ["AioServerInterceptor", "ServerInterceptor"]
