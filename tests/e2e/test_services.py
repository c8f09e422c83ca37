"""A service is data: any two are compared, one that ships with bakeoff and a stranger too, and
such as run elsewhere."""

import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bakeoff.build import build
from bakeoff.experiment import LOCAL
from bakeoff.hosts.host import Host
from bakeoff.manifest import load_manifest
from tests.e2e.conftest import Checkout, kept_up

# A release build of both, from nothing, may be part of it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
_UNEQUAL = {"unequal work", "unequal bodies", "work not as declared", "instrument"}
_BUILT = """
name = "{name}"
title = "{title}"
[build]
command = ["true"]
artifact = "billing"
toolchain = ["true"]
[run]
command = ["./billing"]
"""
_LIVE = """
name = "{name}"
title = "Live: {name}"
url = "{url}"
"""
# Of a service that runs elsewhere: what lies beside its answers.
_UNREAD = (
    *("cpu_us_per_request", "system_cpu_us_per_request", "postgres_cpu_us_per_request"),
    *("stub_cpu_us_per_request", "rss_steady_bytes", "rss_peak_bytes"),
    *("sql_statements_per_request", "grpc_calls_per_request", "log_lines_per_request"),
)


@pytest.fixture
def three(checkout: Checkout, tmp_path: Path) -> Checkout:
    """A checkout with Go, Rust, and a service in a page of Python, `steady`. The first two are
    built where they are at home: here they are just programs."""
    with Host(LOCAL, run_id=secrets.token_hex(8)) as host:
        for name in ("go", "rust"):
            manifest = load_manifest(name)
            build(manifest, host, tmp_path, allow_debug=False)
            assert manifest.build is not None
            folder = checkout.path / "services" / name
            folder.mkdir()
            shutil.copy2(manifest.folder / manifest.build.artifact, folder / "billing")
            text = _BUILT.format(name=name, title=manifest.title)
            (folder / "service.toml").write_text(text)
    return checkout


def _run_of(checkout: Checkout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((checkout.results / "latest" / "run.json").read_text())
    return found


@pytest.mark.parametrize("pair", ["go,steady", "steady,rust"])
def test_a_third_service_is_compared_with_each_of_the_two(three: Checkout, pair: str) -> None:
    done = three.run(three.tiny("--services", pair, "--set", "rounds=1"))
    assert done.code == 0, done.output
    document = _run_of(three)
    assert list(document["services"]) == pair.split(",")
    assert not [one for one in document["validity"] if one["rule"] in _UNEQUAL]
    for service in document["services"].values():
        assert service["metrics"]["sql_statements_per_request"]["value"] == 2.0
        assert service["metrics"]["grpc_calls_per_request"]["value"] == 1.0
        assert service["build"]["artifact_sha256"]


@pytest.fixture
def elsewhere(checkout: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    """A checkout in which `live` and `other` name services that run, of a rig of their own."""
    argv = checkout.argv("up", "--services", "steady,same", "--json")
    log = tmp_path / "up.log"
    with kept_up(argv, checkout.path, checkout.environment(), log, 120) as (_, facts):
        shutil.copy(facts["tokens_file"], tmp_path / "tokens.json")
        urls = facts["services"].values()
        for (name, url), more in zip(
            zip(("live", "other"), urls, strict=True),
            (f'tokens_file = "{tmp_path / "tokens.json"}"', ""),
            strict=True,
        ):
            folder = checkout.path / "services" / name
            folder.mkdir()
            (folder / "service.toml").write_text(_LIVE.format(name=name, url=url) + more)
        yield checkout


def _compare(checkout: Checkout, tokens: Path, words: Sequence[str]) -> dict[str, Any]:
    argv = checkout.tiny(*words, "--set=rounds=1", "--set=pin=true")
    done = checkout.run(argv, BAKEOFF_TOKENS_FILE=str(tokens))
    assert done.code == 0, done.output
    return _run_of(checkout)


def _check_unread(metrics: dict[str, Any]) -> None:
    for name in _UNREAD:
        assert metrics[name]["value"] is None, name
        assert "runs elsewhere" in metrics[name]["reason"], name
    for name in ("p50_ms", "achieved_rps", "throughput_rps", "response_bytes_per_request"):
        assert metrics[name]["value"] > 0, name
        assert any("database not reset" in mark for mark in metrics[name]["marks"]), name


def test_services_that_run_elsewhere(elsewhere: Checkout, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    _check_two_elsewhere(elsewhere, tokens)
    _check_one_beside_one_that_is_started(elsewhere, tokens)


def _check_two_elsewhere(elsewhere: Checkout, tokens: Path) -> None:
    document = _compare(elsewhere, tokens, ("--services", "live,other"))
    for service in document["services"].values():
        _check_unread(service["metrics"])
        assert service["metrics"]["generator_cpu_us_per_request"]["value"] > 0
        assert service["build"]["url"].startswith("http://127.0.0.1:")
    assert any("database not reset" in mark for mark in document["ratios"]["p50_ms"]["marks"])
    assert not [one for one in document["validity"] if one["rule"] in _UNEQUAL]
    summary = (elsewhere.results / "latest" / "summary.md").read_text()
    audit = summary.partition("## Equal work")[2].partition("##")[0]
    assert audit.count("| not counted | not counted | not counted | not counted |") == 4
    assert "runs elsewhere" in summary
    assert "pinned" not in summary


def _check_one_beside_one_that_is_started(elsewhere: Checkout, tokens: Path) -> None:
    document = _compare(elsewhere, tokens, ("--services", "steady,live"))
    ours = document["services"]["steady"]["metrics"]
    assert ours["sql_statements_per_request"]["value"] == 2.0
    assert ours["cpu_us_per_request"]["value"] > 0
    assert not any("elsewhere" in mark for mark in ours["p50_ms"]["marks"])
    _check_unread(document["services"]["live"]["metrics"])
    # Both have the seed's data, and answer alike: that much can be seen from outside.
    assert not [one for one in document["validity"] if one["rule"] in _UNEQUAL]


@pytest.mark.parametrize(
    ("more", "environment", "says"),
    [
        ("", {}, "BAKEOFF_TOKENS_FILE"),
        ('tokens_file = "nowhere.json"', {}, "nowhere.json"),
        ("", {"BAKEOFF_TOKENS_FILE": "nowhere.json"}, "nowhere.json"),
    ],
)
def test_without_tokens_nothing_starts(
    checkout: Checkout, more: str, environment: dict[str, str], says: str
) -> None:
    folder = checkout.path / "services" / "live"
    folder.mkdir()
    text = _LIVE.format(name="live", url="http://127.0.0.1:1") + more
    (folder / "service.toml").write_text(text)
    argv = checkout.tiny("--services", "steady,live")
    done = checkout.run(argv, deadline_s=60, **environment)
    assert done.code == 2, done.output
    assert says in done.output


def test_one_that_does_not_run_is_named(checkout: Checkout, tmp_path: Path) -> None:
    access = {account: ["x"] for account in ("a", "b")}
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"tokens": dict.fromkeys("ab", "t"), "invoices": access}))
    for name in ("live", "other"):
        folder = checkout.path / "services" / name
        folder.mkdir()
        text = _LIVE.format(name=name, url="http://127.0.0.1:1")
        (folder / "service.toml").write_text(text)
    argv = checkout.tiny("--services", "live,other", "--set", "start_deadline_s=1")
    done = checkout.run(argv, BAKEOFF_TOKENS_FILE=str(tokens))
    assert done.code == 3, done.output
    assert "http://127.0.0.1:1" in done.output
    assert "Traceback" not in done.output
