"""The `healthcheck` argument of both services, which their images ask."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from tests.running.rig import SLACK, Starter

# The probe's own limits are two seconds to connect and two to answer.
ANSWERS_WITHIN_S = 4 * SLACK
# Nobody listens there: whoever asks this proxy gets no answer.
DEAD_PROXY = "http://127.0.0.1:1"


def asked(starter: Starter, address: str, **more: str) -> subprocess.CompletedProcess[str]:
    """What `healthcheck` says of the service at an address."""
    spec = starter.spec(starter.environment(LISTEN_ADDR=address) | more)
    folder = starter.manifest.folder
    return subprocess.run(
        [*spec.argv, "healthcheck"],
        executable=folder / spec.argv[0],
        env=spec.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=ANSWERS_WITHIN_S,
        check=False,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"])
def test_it_knows_a_service_that_lives_from_one_that_is_gone(starter: Starter, host: str) -> None:
    with starter.start(LISTEN_ADDR=f"{host}:0") as instance:
        address = f"{host}:{urlsplit(instance.base_url).port}"
        lives = asked(starter, address, HTTP_PROXY=DEAD_PROXY, http_proxy=DEAD_PROXY)
        assert (lives.returncode, lives.stdout, lives.stderr) == (0, "", "")
    gone = asked(starter, address)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr.startswith("billing: ") and gone.stderr.count("\n") == 1, gone.stderr


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that answers anything with these bytes and closes; without any, it keeps silent
    and open."""
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            connection, _ = listener.accept()
            with connection:
                if answer:
                    connection.recv(65536)
                    connection.sendall(answer)
                else:
                    ended.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{port}"
        ended.set()
        socket.create_connection(("127.0.0.1", port), timeout=ANSWERS_WITHIN_S).close()
        thread.join(ANSWERS_WITHIN_S)


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", b"220 hello\r\n", b""],
    ids=["503", "no HTTP", "silence"],
)
def test_only_an_answer_of_200_is_health(starter: Starter, answer: bytes) -> None:
    with answering(answer) as address:
        sick = asked(starter, address)
    assert (sick.returncode, sick.stdout) == (1, "")
    assert sick.stderr.startswith("billing: ") and sick.stderr.count("\n") == 1, sick.stderr


def test_bad_settings_are_no_health(starter: Starter) -> None:
    refused = asked(starter, "127.0.0.1")
    assert refused.returncode == 2
    assert refused.stderr == "billing: bad settings: LISTEN_ADDR must be ip:port\n"
