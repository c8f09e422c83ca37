"""The images: built from their container files, started, asked for their health, used, stopped.

Where no registry can be reached the bases are made of this machine (`bakeoff.images.standins`).
"""

import os
import re
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from bakeoff.build import build
from bakeoff.experiment import LOCAL
from bakeoff.hosts.host import Host
from bakeoff.images.buildah import PROGRAMS
from bakeoff.images.builds import Images, image_name
from bakeoff.images.containerfile import container_files
from bakeoff.images.records import ImageRecord
from bakeoff.manifest import load_manifest
from bakeoff.rig.tokens import Credentials, mint_tokens
from bakeoff.sources import sources_sha256
from stub_payment.payments import payment_of_invoice
from tests.contract.api import Api, Target
from tests.contract.rig import SeededPostgres, new_database
from tests.images.container import Container
from tests.images.test_compose import SERVICES as COMPOSED
from tests.running.rig import health, until

_MISSING = [program for program in (*PROGRAMS, "ip") if shutil.which(program) is None]
# Of both services and the stub, with a compiler's cache that may be empty.
_BUILD_S = 3600

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.timeout(_BUILD_S),
    pytest.mark.skipif(os.geteuid() != 0, reason="images are built and run as root here"),
    pytest.mark.skipif(
        bool(_MISSING), reason=f"no builder: {' and '.join(_MISSING)} not in PATH (apt-get install)"
    ),
]
UNPRIVILEGED = 65532


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """This machine."""
    with Host(LOCAL, run_id=secrets.token_hex(8)) as found:
        yield found


@dataclass(frozen=True)
class Built:
    """The images, and what is known of each."""

    images: Images
    records: dict[str, ImageRecord]


@pytest.fixture(scope="module")
def built(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """All of them. The services are built here before, as then little is left to compile."""
    folder = tmp_path_factory.mktemp("builds")
    for name in ("go", "rust"):
        build(load_manifest(name), host, folder, allow_debug=False)
    with Images(local_bases=True) as images:
        files = container_files().items()
        yield Built(images, {name: images.build(file, image_name(name)) for name, file in files})


@dataclass(frozen=True)
class Network:
    """A network namespace: its file, its address, and this machine's on the same wire."""

    path: Path
    address: str
    outside: str


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """A namespace with one wire to this machine."""
    name = f"bakeoff-{secrets.token_hex(3)}"
    wire = f"bo-{secrets.token_hex(3)}"
    subnet = f"10.{88 + secrets.randbelow(100)}.{secrets.randbelow(256)}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=60)

    try:
        ip("netns", "add", name)
        ip("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"{subnet}.1/30", "dev", wire)
        ip("link", "set", wire, "up")
        ip("-n", name, "addr", "add", f"{subnet}.2/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", name, "link", "set", device, "up")
        yield Network(Path("/run/netns", name), f"{subnet}.2", f"{subnet}.1")
    finally:
        # The wire goes with the namespace.
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def database_url(
    host: Host, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A seeded database at this machine's end of the wire."""
    with SeededPostgres(host, tmp_path_factory, network.outside) as postgres:
        yield new_database(postgres, f"images_{secrets.token_hex(4)}")


@pytest.fixture
def stub(built: Built, network: Network, tmp_path: Path) -> Iterator[Container]:
    """The stub, healthy."""
    folder = tmp_path / "stub"
    ledger = folder / "ledger"
    ledger.mkdir(parents=True)
    # As an engine does with a new volume.
    os.chown(ledger, UNPRIVILEGED, UNPRIVILEGED)
    with Container(
        built.images.buildah, image_name("stub"), folder, network.path, {}, {}, {"/ledger": ledger}
    ) as container:
        container.await_healthy()
        yield container


def composed(name: str, secret: str) -> dict[str, str]:
    """A service's environment of compose.yaml, with secrets; where the database is, is known to
    the test alone."""
    variables = {"POSTGRES_PASSWORD": "x", "AUTH_JWT_SECRET": secret}
    return {
        setting: re.sub(r"\$\{(\w+):\?[^}]+\}", lambda match: variables[match[1]], value)
        for setting, value in COMPOSED[name]["environment"].items()
    }


def charged(ledger: Path) -> list[str]:
    """The invoices that were charged."""
    with closing(sqlite3.connect(ledger)) as connection:
        return [row[0] for row in connection.execute("SELECT invoice_id FROM charges")]


def assert_confined(container: Container) -> None:
    """Its process is nobody's, and can do nothing special."""
    status = Path(f"/proc/{container.main.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == set(fields["Gid"].split()) == {str(UNPRIVILEGED)}
    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"] == "1"


@pytest.mark.parametrize("name", ["go", "rust"])
def test_a_service_lives_serves_and_stops(
    name: str,
    built: Built,
    network: Network,
    database_url: str,
    stub: Container,
    tmp_path: Path,
) -> None:
    credentials = Credentials.fresh()
    parts = urlsplit(database_url)
    # By its name, as in compose.yaml, so that looking names up is part of it.
    address = parts._replace(netloc=parts.netloc.replace(network.outside, "postgres"))
    environment = composed(name, credentials.secret) | {"DATABASE_URL": urlunsplit(address)}
    hosts = {"postgres": network.outside, "stub": "127.0.0.1"}
    with Container(
        built.images.buildah, image_name(name), tmp_path, network.path, environment, hosts, {}
    ) as container:
        container.line('"listening"')
        container.await_healthy()
        assert_confined(container)
        base_url = f"http://{network.address}:8080"
        until(lambda: health(base_url, "/readyz")[0] == 200, why="ready")
        with psycopg.connect(database_url) as connection:
            row = connection.execute("SELECT id::text FROM accounts LIMIT 1").fetchone()
        assert row is not None
        token = mint_tokens(credentials, [row[0]])[row[0]]
        api = Api(Target(name, base_url, {}), row[0], token)
        # Two calls to the stub: a charge, which is in its ledger, and the measured request.
        invoice = api.invoice("paid")
        payment = api.get(f"/v1/invoices/{invoice['id']}/payment")["payment"]
        assert payment["amount_cents"] == payment_of_invoice(invoice["id"]).amount_cents
        assert charged(tmp_path / "stub" / "ledger" / "ledger.sqlite") == [invoice["id"]]
        assert container.stop() == 0, container.log.read_text()
        assert '"stopped"' in container.log.read_text()


def test_a_service_that_does_not_serve_is_not_healthy(
    built: Built, network: Network, tmp_path: Path
) -> None:
    environment = composed("go", "s" * 32)
    with Container(
        built.images.buildah, image_name("go"), tmp_path, network.path, environment, {}, {}
    ) as container:
        container.await_healthy()
        container.main.suspend()
        sick = container.health()
        container.main.resume()
        assert sick.returncode == 1
        assert sick.stderr.startswith("billing: ")


def test_the_stub_lives_and_stops(stub: Container) -> None:
    assert_confined(stub)
    # What an engine makes a new volume of.
    of_image = (stub.rootfs / "ledger").stat()
    assert (of_image.st_uid, of_image.st_gid) == (UNPRIVILEGED, UNPRIVILEGED)
    for process in (stub.main, *stub.main.children()):
        process.suspend()
    sick = stub.health()
    for process in (stub.main, *stub.main.children()):
        process.resume()
    assert sick.returncode == 1
    assert "DEADLINE_EXCEEDED" in sick.stderr or "UNAVAILABLE" in sick.stderr
    assert stub.stop() == 0, stub.log.read_text()


@pytest.mark.parametrize("name", ["go", "rust"])
def test_a_service_s_size_is_that_of_its_own_files(built: Built, name: str) -> None:
    record = built.records[name]
    assert record.bytes is not None and record.reason is None
    assert record.built_with is not None and record.built_with.startswith("buildah ")
    assert record.built_at is not None
    built_ago = datetime.now(UTC) - datetime.fromisoformat(record.built_at)
    assert timedelta() <= built_ago < timedelta(seconds=_BUILD_S)
    assert record.sources_sha256 == sources_sha256(container_files()[name].parent)
    with built.images.buildah.mounted(image_name(name)) as root:
        files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
        content = sum(path.stat().st_size for path in files)
        assert root / "billing" in files
        assert not {"sh", "bash", "busybox"} & {path.name for path in files}
    # A layer is an archive: each file fills blocks of 512 bytes and has a head of one or more.
    assert content <= record.bytes <= content + 20_000 + 2048 * len(files)
    # Go's has all in one file of some 18 MB, Rust's some 5 MB and glibc.
    assert record.bytes < 30_000_000


def test_the_stub_has_no_size_on_a_base_that_is_not_its_own(built: Built) -> None:
    record = built.records["stub"]
    assert record.bytes is None
    assert record.reason is not None and "in place of python:" in record.reason
