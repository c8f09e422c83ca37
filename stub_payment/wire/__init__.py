"""Unary gRPC over HTTP/2 (RFC 9113) on plain asyncio: the stub's engine for load.

`connection` reads frames and is the only one that knows the transport. It asks `fields` for a
request's header block, `routes` what is asked for, `messages` for the message in the body, and
answers through `outbox`, which keeps to the peer's windows. What is unusual ends the connection
(`frames.ConnectionFault`); `limits` says what is unusual.
"""
