"""`python -m stub_payment.healthcheck HOST:PORT`: is the stub there serving? For images."""

import sys

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_DEADLINE_S = 2.0


def problem_at(target: str, deadline_s: float = _DEADLINE_S) -> str | None:
    """What the gRPC health service at `target` says that is not SERVING; None if it serves."""
    with grpc.insecure_channel(target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        try:
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=deadline_s)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return f"{code.name}: {error.details()}"
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return None
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


@click.command(epilog="Example: python -m stub_payment.healthcheck 127.0.0.1:50051")
@click.argument("target")
def main(target: str) -> None:
    """Ask the payment stub at TARGET, host:port, whether it serves: exit 0 if so, else 1."""
    problem = problem_at(target)
    if problem is not None:
        click.echo(f"stub_payment at {target}: {problem}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="python -m stub_payment.healthcheck")
