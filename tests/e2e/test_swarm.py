"""A swarm of machines: the workers stand in network namespaces of their own."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from tests.e2e.conftest import Checkout

_WORKERS = ("w1", "w2")
_ADDRESS = "10.77.0.1"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces take root"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="`ip` is missing: install iproute2"),
]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)


@pytest.fixture
def namespaces() -> Iterator[dict[str, str]]:
    """A hub with a bridge, and a namespace a worker on it; their names by role."""
    mark = f"bakeoff-{secrets.token_hex(3)}"
    names = {role: f"{mark}-{role}" for role in ("hub", *_WORKERS)}
    try:
        for name in names.values():
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", names["hub"], "link", "add", "br0", "type", "bridge")
        _ip("-n", names["hub"], "addr", "add", f"{_ADDRESS}/24", "dev", "br0")
        _ip("-n", names["hub"], "link", "set", "br0", "up")
        for number, role in enumerate(_WORKERS, 2):
            pair = ("type", "veth", "peer", "name", "eth0", "netns", names[role])
            _ip("link", "add", "name", role, "netns", names["hub"], *pair)
            _ip("-n", names["hub"], "link", "set", role, "master", "br0", "up")
            _ip("-n", names[role], "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            _ip("-n", names[role], "link", "set", "eth0", "up")
        yield names
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _host(name: str, namespace: str, address: str) -> str:
    command = ["ip", "netns", "exec", namespace, sys.executable, "-m", "bakeoff.hosts.remote"]
    return f"[hosts.{name}]\ncommand = {json.dumps(command)}\naddress = {json.dumps(address)}\n"


def _experiment(namespaces: dict[str, str], workers: Sequence[str]) -> str:
    hosts = [_host(name, namespaces[name], f"10.77.0.{n}") for n, name in enumerate(workers, 2)]
    placement = f"[placement]\nworkers = {json.dumps(list(workers))}\n"
    return f'bind_address = "{_ADDRESS}"\n' + "".join(hosts) + placement


def test_two_workers_in_namespaces_of_their_own(
    checkout: Checkout, namespaces: dict[str, str]
) -> None:
    path = checkout.path / "experiments" / "tiny.toml"
    path.write_text(path.read_text() + _experiment(namespaces, _WORKERS))
    hub = ["ip", "netns", "exec", namespaces["hub"]]
    done = checkout.run([*hub, *checkout.tiny("--set", "rounds=1")])
    assert done.code == 0, done.output
    rounds = sorted((checkout.results / "latest" / "rounds").glob("*/phases.json"))
    assert len(rounds) == 2
    for record in map(json.loads, (path.read_text() for path in rounds)):
        fixed = next(phase for phase in record["phases"] if phase["name"] == "fixed")
        assert len(fixed["workers"]) == 2
        for worker in fixed["workers"]:
            assert worker["final"]
            # The last report is repeated after 0.5, 1.5 and 3.5 s without an acknowledgement, which
            # takes milliseconds, but on a busy machine a second; and it is counted once.
            assert worker["gaps"] == 0 and worker["repeats"] <= 3
            assert worker["reports"] == worker["last_sequence"]
            assert worker["recorded"] == worker["merged"] > 0
        sent = sum(worker["counts"]["sent"] for worker in fixed["workers"])
        assert sent == fixed["counts"]["sent"] == fixed["counts"]["answered"]
        assert fixed["audit"]["log_lines"] == fixed["audit"]["stub_calls"] == sent
        assert fixed["parts"]["generator"]["cpu_us"] > 0
