"""`bakeoff footprint` whole, on a toy that is built in no time and on a larger one."""

import json
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bakeoff.experiment import LOCAL
from bakeoff.hosts.host import Host
from bakeoff.measure.operations import OPERATIONS
from bakeoff.rig.postgres import Postgres
from tests.e2e.conftest import Checkout, interrupt, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TOY = Path(__file__).parents[1] / "fakes" / "toy"
DEADLINE_S = 500.0
COPIES = 8
# As the services' tests do, until it is killed.
_COPIES_THE_DATABASE = """
import os, pathlib, secrets, time
import psycopg

url, name = os.environ["DATABASE_URL"], "billing_test_" + secrets.token_hex(4)
with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
    template = url.rpartition("/")[2].partition("?")[0]
    connection.execute(f'CREATE DATABASE {{name}} TEMPLATE "{{template}}"'.encode())
connection = psycopg.connect(url, dbname=name)
ready = pathlib.Path({ready!r})
ready.with_suffix(".partial").write_text(name)
ready.with_suffix(".partial").rename(ready)
time.sleep(600)
"""


def _add_toy(checkout: Checkout, name: str) -> Path:
    folder = checkout.path / "services" / name
    shutil.copytree(TOY, folder)
    _replace(folder / "service.toml", 'name = "toy"', f'name = "{name}"')
    return folder


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))


@pytest.fixture
def toys(checkout: Checkout) -> Checkout:
    """A checkout with `toy` and with `large`: handlers that are copied, and one more dependency."""
    _add_toy(checkout, "toy")
    large = _add_toy(checkout, "large")
    handler = (large / "handlers" / "pay.c").read_text()
    for number in range(COPIES):
        copied = handler.replace("int pay(", f"int pay{number}(").replace(
            "pay_is_sound", f"pay{number}_is_sound"
        )
        (large / "handlers" / f"pay{number}.c").write_text(copied)
    _replace(large / "Makefile", "ALL := $(DIRECT)", r"ALL := $(DIRECT)\nlibm 2")
    return checkout


def _argv(checkout: Checkout, *words: str) -> list[str]:
    # Seen from where it runs, as the default is.
    results = os.path.relpath(checkout.results, checkout.path)
    return checkout.argv("footprint", "--results", results, *words)


def _once(checkout: Checkout, *words: str) -> list[str]:
    few = ("--set", "cold=1", "--set", "incremental=1")
    return _argv(checkout, "--services", "toy", *few, *words)


def _document(checkout: Checkout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((checkout.results / "latest" / "footprint.json").read_text())
    return found


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_both_tables_of_two_services(toys: Checkout) -> None:
    before = {name: _contents(toys.path / "services" / name) for name in ("toy", "large")}
    argv = _argv(toys, "--services", "toy,large", "--set", "cold=3", "--set", "incremental=3")
    # On this the toys' Makefile gives up: it does not reach it.
    done = toys.run(argv, deadline_s=DEADLINE_S, TOY_STEERED="1")
    assert done.code == 0, done.output
    document = _document(toys)
    assert document["finished"]
    _check_lines(document)
    _check_times(document)
    # What is changed and built is a copy.
    assert {name: _contents(toys.path / "services" / name) for name in before} == before
    folder = toys.results / "latest"
    for name in ("report.html", "summary.md", "plots/lines.png", "plots/compile_times.png"):
        assert (folder / name).is_file(), name
    for text in ("large against toy", "Cold release build", "Handlers", "about 0:0", "peak memory"):
        assert text in done.output
    # From the folder alone, again.
    (folder / "report.html").unlink()
    again = toys.run(toys.argv("report", str(folder)), deadline_s=60)
    assert again.code == 0, again.output
    assert (folder / "report.html").is_file()


def _check_lines(document: dict[str, Any]) -> None:
    """The larger service is larger where it is, and nowhere else."""
    ratios = document["ratios"]
    assert ratios["lines_handlers"]["value"] == 1 + COPIES
    for name in ("lines_boot", "lines_domain", "lines_tests", "direct_dependencies"):
        assert ratios[name]["value"] == 1, name
    assert [one["sizes"]["all_dependencies"]["value"] for one in document["services"].values()] == [
        *(1, 2)
    ]
    assert ratios["binary_bytes"]["value"] > 1
    for service in document["services"].values():
        assert service["sizes"]["image_bytes"]["value"] is None
        assert "no image" in service["sizes"]["image_bytes"]["reason"]
        for named in ("toolchain", "linker"):
            assert service[named] and "\n" not in service[named]
        assert service["changes"] == {"leaf": "handlers/pay.c", "hub": "domain.h"}


def _check_times(document: dict[str, Any]) -> None:
    for name, operation in OPERATIONS.items():
        ratio = document["ratios"][name]
        assert ratio["pairs"] == (3 if operation.repeated else 1), name
        assert (ratio["low"] is not None) == operation.repeated, name
        for service in document["services"].values():
            found = service["times"][name]
            assert 0 < found["low_s"] <= found["median_s"] <= found["high_s"], name
            assert found["cpu_median_s"] > 0, name
    cpu = {
        label: service["times"]["cold_release_build"]["cpu_median_s"]
        for label, service in document["services"].items()
    }
    # Nine handlers instead of one, in CPU time, which a busy machine leaves alone.
    assert cpu["large"] > 1.2 * cpu["toy"]
    order = [run["service"] for run in document["runs"] if run["operation"] == "hub_test"]
    assert order == ["toy", "large", "large", "toy", "toy", "large"]


def test_without_the_cold_it_starts_from_what_is_there(toys: Checkout) -> None:
    for _ in range(2):
        done = toys.run(_once(toys, "--skip", "cold", "--json"), deadline_s=DEADLINE_S)
        assert done.code == 0, done.output
        document = _document(toys)
        times = document["services"]["toy"]["times"]
        for name, operation in OPERATIONS.items():
            assert len(times[name]["runs_s"]) == (0 if operation.cold else 1), name
            if operation.cold:
                assert times[name]["reason"] == "skipped with --skip cold"
        assert document["services"]["toy"]["sizes"]["binary_bytes"]["value"] > 0


def test_an_interrupted_run_keeps_what_it_has(toys: Checkout, tmp_path: Path) -> None:
    log = tmp_path / "log"
    argv = _argv(toys, "--services", "toy,large", "--set", "incremental=100")
    process = toys.start(argv, log)
    kept = toys.results / "latest" / "footprint.json"

    def has_some() -> bool:
        assert process.poll() is None, log.read_text()
        return kept.is_file() and len(json.loads(kept.read_text())["runs"]) > 3

    wait_until(has_some, DEADLINE_S, "some runs are stored")
    interrupt(process)
    assert process.wait(60) == 130, log.read_text()
    document = _document(toys)
    assert not document["finished"]
    assert len(document["runs"]) > 3
    assert document["services"]["toy"]["times"]["cold_release_build"]["median_s"] > 0
    assert "did not come to its end" in (kept.parent / "summary.md").read_text()


def test_databases_of_killed_tests_go_from_the_server_of_somebody_else(
    toys: Checkout, tmp_path: Path
) -> None:
    script, ready = tmp_path / "test.py", tmp_path / "ready"
    script.write_text(_COPIES_THE_DATABASE.format(ready=str(ready)))
    manifest = toys.path / "services" / "toy" / "service.toml"
    command = json.dumps(["env", sys.executable, str(script)])
    _replace(manifest, 'command = ["make", "--silent", "test"]', f"command = {command}")
    with Host(LOCAL, run_id=secrets.token_hex(8)) as host, Postgres(host) as postgres:
        url = postgres.url_for("postgres")

        def databases() -> set[str]:
            with psycopg.connect(url) as connection:
                return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}

        before = databases()
        log = tmp_path / "log"
        process = toys.start(_once(toys, "--skip", "cold", "--database-url", url), log)

        def has_begun() -> bool:
            assert process.poll() is None, log.read_text()
            return ready.exists()

        wait_until(has_begun, DEADLINE_S, "the tests have a database")
        assert ready.read_text() in databases() - before
        interrupt(process)
        assert process.wait(60) == 130, log.read_text()
        assert databases() == before


def test_a_build_that_fails_is_named_and_what_there_was_is_kept(toys: Checkout) -> None:
    _replace(toys.path / "services" / "toy" / "test.c", "return !(", "return 3 + !(")
    done = toys.run(_once(toys), deadline_s=DEADLINE_S)
    assert done.code == 3, done.output
    assert "cold_test of toy" in done.output
    assert "Traceback" not in done.output
    document = _document(toys)
    assert [run["operation"] for run in document["runs"]] == [
        *("cold_release_build", "cold_dev_build", "cold_check")
    ]


def test_a_change_that_changes_nothing_is_refused(toys: Checkout) -> None:
    file = toys.path / "services" / "toy" / "service.toml"
    _replace(file, '"    if (amount_cents == -{n}) return 1;"', '"    // {n}"')
    done = toys.run(_once(toys), deadline_s=DEADLINE_S)
    assert done.code == 2, done.output
    assert "[footprint.leaf]" in done.output.replace("\n", " ")


def test_a_build_that_fails_at_once_leaves_no_results(toys: Checkout) -> None:
    (toys.path / "services" / "toy" / "domain.h").write_text(
        "/* What an invoice may come to. */\n#error not today\n"
    )
    done = toys.run(_once(toys), deadline_s=DEADLINE_S)
    assert done.code == 3, done.output
    assert "cold_release_build of toy" in done.output and "not today" in done.output
    assert not (toys.results / "latest").exists()


@pytest.mark.parametrize(
    ("old", "new", "says", "timed"),
    [
        ("/* What an invoice may come to. */", "/* nowhere */", "/* nowhere */", []),
        ('"out/dev/toy"', '"out/dev/toys"', "no artifact at", ["cold_release_build"]),
    ],
)
def test_a_mistake_in_the_manifest_is_found_early(
    toys: Checkout, old: str, new: str, says: str, timed: list[str]
) -> None:
    _replace(toys.path / "services" / "toy" / "service.toml", old, new)
    done = toys.run(_once(toys), deadline_s=DEADLINE_S)
    assert done.code == 2, done.output
    assert says in done.output.replace("\n", " ")
    assert (toys.results / "latest").exists() == bool(timed)
    if timed:
        assert [run["operation"] for run in _document(toys)["runs"]] == timed


def test_a_service_without_a_footprint_section_has_its_lines(toys: Checkout) -> None:
    file = toys.path / "services" / "toy" / "service.toml"
    file.write_text(file.read_text().partition("[footprint]")[0])
    done = toys.run(_once(toys), deadline_s=DEADLINE_S)
    assert done.code == 0, done.output
    toy = _document(toys)["services"]["toy"]
    assert toy["lines"]["concerns"]["handlers"]["code"] == 9
    assert {one["reason"] for one in toy["times"].values()} == {"no [footprint] in service.toml"}
    for name in ("direct_dependencies", "all_dependencies", "binary_bytes"):
        assert toy["sizes"][name] == {"value": None, "reason": "no [footprint] in service.toml"}


def test_into_a_folder_that_is_there(toys: Checkout) -> None:
    done = toys.run(_once(toys, "--skip", "cold"), deadline_s=DEADLINE_S)
    assert done.code == 0, done.output
    folder = (toys.results / "latest").resolve()
    (toys.results / "images.json").write_text(
        '{"toy": {"bytes": 12000000, "built_with": "buildah 1"}}'
    )
    # One that is interrupted or fails takes nothing away.
    test = toys.path / "services" / "toy" / "test.c"
    _replace(test, "return !(", "return 3 + !(")
    before = _document(toys)
    done = toys.run(_once(toys, "--into", str(folder)), deadline_s=DEADLINE_S)
    assert done.code == 3, done.output
    assert _document(toys) == before
    assert "footprint.unfinished.json" in done.output.replace("\n", "")
    beside = json.loads((folder / "footprint.unfinished.json").read_text())
    assert [run["operation"] for run in beside["runs"]][-1] == "cold_check"
    _replace(test, "return 3 + !(", "return !(")
    done = toys.run(_once(toys, "--into", str(folder)), deadline_s=DEADLINE_S)
    assert done.code == 0, done.output
    assert not (folder / "footprint.unfinished.json").exists()
    assert len([one for one in toys.results.iterdir() if one.is_dir()]) == 2
    sizes = _document(toys)["services"]["toy"]["sizes"]
    assert sizes["image_bytes"]["value"] == 12_000_000
    assert "12.0 MB" in done.output


def test_into_a_folder_that_has_no_report_is_refused_at_once(toys: Checkout) -> None:
    folder = toys.results / "broken-off"
    (folder / "rounds").mkdir(parents=True)
    done = toys.run(_once(toys, "--into", str(folder)), deadline_s=60)
    assert done.code == 2, done.output
    assert "run.json" in done.output and "about" not in done.output
    assert not (folder / "footprint.json").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--services", "cobol"), "cobol"),
        (("--set", "colour=3"), "colour"),
        (("--set", "cold=0"), "cold"),
        (("--set", "cold"), "key=value"),
        (("--skip", "warm"), "warm"),
        (("--into", "nowhere"), "nowhere"),
    ],
)
def test_wrong_usage_is_exit_code_2(toys: Checkout, words: tuple[str, ...], says: str) -> None:
    done = toys.run(_argv(toys, "--services", "toy", *words), deadline_s=60)
    assert done.code == 2, done.output
    assert says in done.output
    assert "Traceback" not in done.output
