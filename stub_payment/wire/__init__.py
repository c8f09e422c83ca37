"""Unary gRPC over HTTP/2 (RFC 9113) on plain asyncio: the stub's engine for load.

`connection` is the only one that knows the transport. Its `reader` cuts bytes into frames. Those of
requests go to `streams`, which ask `heads` (over `fields` and `routes`) what a request is, `bodies`
for its message, and `calls` to have it answered, through `outbox`, which keeps to the peer's
windows; `signals` takes the others. Ordinary calls go by `express`, before they are cut to frames.
`watch` looks for what a peer owes. What is unusual ends the connection (`frames.ConnectionFault`);
`limits` says what is unusual.
"""
