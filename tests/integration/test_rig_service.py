"""A service under test, played by a script: how it starts, how it fails, how it stops."""

import json
import os
import signal
import textwrap
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bakeoff.errors import PartDiedError, StartError
from bakeoff.hosts import procfs
from bakeoff.manifest import load_manifest
from bakeoff.rig.service import Service, ServiceSettings
from bakeoff.rig.tokens import Credentials
from tests.integration.checkout import DEADLINE_S, host_on, make_checkout, until

SECRET = f"canary-{uuid.uuid4().hex}"
MODES = {
    "fine": "",
    "dies at start": "print('no DATABASE_URL today', file=sys.stderr, flush=True); sys.exit(2)",
    "never listens": "print('thinking', flush=True); time.sleep(600)",
    "no address": """print('{"message":"listening","address":41234}', flush=True); time.sleep(9)""",
    "never ready": "ready = False",
    "ready later": "ready_at = time.monotonic() + 0.5",
    "dies listening": "die = True",
    "ignores TERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
}
_SCRIPT = """
import json, os, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer
ready, ready_at, die = True, 0, False
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
{mode}
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if die:
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.path == "/environment":
            self.answer(200, dict(os.environ))
        else:
            self.answer(200 if ready and time.monotonic() >= ready_at else 503, "wait")
    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
host, port = os.environ["LISTEN_ADDR"].split(":")
server = HTTPServer((host, int(port)), Handler)
line = {{"message": "listening", "address": f"0.0.0.0:{{server.server_port}}"}}
print(json.dumps(line, separators=(",", ":")), flush=True)
server.serve_forever()
"""


def _settings(start_deadline_s: float = DEADLINE_S) -> ServiceSettings:
    return ServiceSettings(
        database_url="postgres://u:p@127.0.0.1:1/d",
        payment_targets=["127.0.0.1:2", "127.0.0.1:3"],
        credentials=Credentials(SECRET, "bakeoff", "billing"),
        worker_threads=3,
        start_deadline_s=start_deadline_s,
    )


@contextmanager
def _service(folder: Path, mode: str, start_deadline_s: float = DEADLINE_S) -> Iterator[Service]:
    script = _SCRIPT.format(mode=textwrap.dedent(MODES[mode]))
    checkout = make_checkout(folder, script)
    manifest = load_manifest("fake", checkout / "services")
    with host_on(checkout, uuid.uuid4().hex) as host:
        yield Service(host, manifest, _settings(start_deadline_s), part="fake-a")


def test_it_gets_the_contracts_settings_and_stops(tmp_path: Path) -> None:
    with _service(tmp_path, "fine") as service:
        with service:
            with urllib.request.urlopen(f"{service.base_url}/environment") as answer:
                environment = json.load(answer)
            assert environment["AUTH_JWT_SECRET"] == SECRET
            assert environment["PAYMENT_TARGETS"] == "127.0.0.1:2,127.0.0.1:3"
            assert environment["WORKER_THREADS"] == "3"
            assert environment["SHUTDOWN_DRAIN_SECONDS"] == "0"
            service.check()
            assert service.pids is not None
            pid = service.pids[0]
            assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
            assert service.log_path is not None
            log = Path(service.log_path)
            assert '"listening"' in log.read_text()
            assert service.stop() == 0
            # Told to, so no death.
            service.check()
        assert procfs.stat(pid) is None
        assert not log.exists()


def test_the_settings_are_all_in_the_contract() -> None:
    contract = Path(__file__).parents[2] / "services" / "contract" / "README.md"
    named = {
        line.split("`")[1] for line in contract.read_text().splitlines() if line.startswith("| `")
    }
    required = {"DATABASE_URL", "PAYMENT_TARGETS", "AUTH_JWT_SECRET", "AUTH_JWT_ISSUER"}
    assert required <= _settings().environment().keys() <= named


@pytest.mark.parametrize(
    ("mode", "named"),
    [
        ("dies at start", r"(?s)fake-a did not start: exit code 2.*no DATABASE_URL today"),
        ("never listens", r"(?s)within 1 s .setting `start_deadline_s`.*thinking"),
        ("no address", r"`address` is not ip:port.*41234"),
        ("never ready", r"(?s)within 1 s .setting `start_deadline_s`.: GET /readyz says '503 "),
        ("dies listening", r"(?s)fake-a died before it was ready.*SIGSEGV"),
    ],
)
def test_a_start_that_fails_says_why(tmp_path: Path, mode: str, named: str) -> None:
    with _service(tmp_path, mode, 1.0 if "never" in mode else DEADLINE_S) as service:
        with pytest.raises(StartError, match=named) as caught, service:
            pass
        assert SECRET not in str(caught.value)
        far_end = service.host.facts().pid
        assert until(lambda: procfs.descendants([far_end], procfs.all_stats()) == {far_end})


def test_it_may_take_its_time_to_be_ready(tmp_path: Path) -> None:
    with _service(tmp_path, "ready later") as service, service:
        service.check()


def test_a_death_is_named(tmp_path: Path) -> None:
    with _service(tmp_path, "fine") as service, service:
        assert service.pids is not None
        os.kill(service.pids[0], signal.SIGKILL)

        def dead() -> bool:
            try:
                service.check()
            except PartDiedError as error:
                assert (error.part, service.part) == ("fake-a", "fake-a")
                assert "fake-a died: SIGKILL" in str(error)
                return True
            return False

        assert until(dead)


def test_one_that_ignores_term_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.rig.service._GRACE_S", -0.7)
    with _service(tmp_path, "ignores TERM") as service, service:
        assert service.stop() == -signal.SIGKILL


def test_a_service_that_runs_elsewhere(tmp_path: Path) -> None:
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/readyz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Ready)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        checkout = make_checkout(tmp_path, "")
        url = f"http://127.0.0.1:{server.server_port}"
        text = f'name = "fake"\ntitle = "x"\nurl = "{url}"\n'
        (checkout / "services" / "fake" / "service.toml").write_text(text)
        manifest = load_manifest("fake", checkout / "services")
        with (
            host_on(checkout, uuid.uuid4().hex) as host,
            Service(host, manifest, _settings()) as service,
        ):
            assert (service.base_url, service.pids, service.log_path) == (url, None, None)
            service.check()
            assert service.stop() is None
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
