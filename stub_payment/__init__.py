"""The payment provider of the rig: a gRPC server with deterministic answers.

`python -m stub_payment` starts it. The parent process (`supervisor`) serves the
control service and starts one serving process (`process`) per port; each of
those runs an engine (`engine_grpcio`) in front of the servicer, which knows
nothing of gRPC servers. Charges go into one ledger that all processes share.
"""
