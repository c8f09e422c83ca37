"""Programs that are started often import nothing heavy that they do not need."""

import subprocess
import sys

import pytest

DEADLINE_S = 60.0


@pytest.mark.parametrize(
    ("program", "spared"),
    [
        ("bakeoff.cli", "matplotlib scipy.special scipy.stats scipy.optimize locust dockerfile"),
        ("bakeoff.hosts.remote", "numpy scipy grpc psycopg locust matplotlib"),
        ("bakeoff.nullserver", "numpy scipy grpc psycopg locust matplotlib"),
        ("bakeoff.load", "scipy grpc psycopg matplotlib"),
        ("stub_payment.__main__", "numpy scipy psycopg locust matplotlib"),
        ("stub_payment.process", "numpy scipy psycopg locust matplotlib"),
    ],
)
def test_a_program_is_spared(program: str, spared: str) -> None:
    code = f"import sys, {program}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    imported = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=DEADLINE_S
    ).stdout.split()
    assert program in imported
    assert not set(spared.split()) & set(imported)
