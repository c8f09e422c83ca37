"""The committed Python of the protos is what protoc makes of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from protos.payment.v1 import payment_pb2

ROOT = Path(__file__).parents[2]
PROTO = "protos/payment/v1/payment.proto"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated")
    outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, PROTO]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return out


@pytest.mark.parametrize("name", ["payment_pb2.py", "payment_pb2.pyi", "payment_pb2_grpc.py"])
def test_the_committed_python_is_up_to_date(generated: Path, name: str) -> None:
    path = Path(PROTO).parent / name
    assert (ROOT / path).read_text() == (generated / path).read_text(), "run `make proto`"


def test_the_package_on_the_wire_is_not_the_folder() -> None:
    services = payment_pb2.DESCRIPTOR.services_by_name
    assert services["Payments"].full_name == "payment.v1.Payments"
    assert services["Control"].full_name == "payment.v1.Control"
