"""The file with tokens, invoices and subscriptions, and how a task draws from it."""

import json
from pathlib import Path

import pytest

from bakeoff.errors import UsageError
from bakeoff.load import Invoices, Subscriptions, encode_headers

GOOD = {
    "tokens": {"a": "token-a", "b": "token-b"},
    "invoices": {"b": ["b1"], "a": ["a1", "a2", "a3"]},
    "subscriptions": {"a": ["s1"], "b": ["s2"]},
}


def load(monkeypatch: pytest.MonkeyPatch, folder: Path, content: str) -> Invoices:
    """Invoices from a file with this content."""
    path = folder / "tokens.json"
    path.write_text(content)
    monkeypatch.setenv("BAKEOFF_TOKENS_FILE", str(path))
    return Invoices.from_environment()


def test_all_invoices_are_equally_likely(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    invoices = load(monkeypatch, tmp_path, json.dumps(GOOD))
    picked = [invoices.pick(draw / 400) for draw in range(400)]
    counts = {one.id: sum(other.id == one.id for other in picked) for one in picked}
    assert counts == {"a1": 100, "a2": 100, "a3": 100, "b1": 100}
    headers = {one.id: one.headers for one in picked}
    assert headers["b1"] == b"Authorization: Bearer token-b\r\n"
    assert headers["a3"] == b"Authorization: Bearer token-a\r\n"


def test_subscriptions_are_drawn_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    load(monkeypatch, tmp_path, json.dumps(GOOD))
    subscriptions = Subscriptions.from_environment()
    assert [subscriptions.pick(draw).id for draw in (0.0, 0.49, 0.51, 0.99)] == [
        *("s1", "s1", "s2", "s2")
    ]
    more = subscriptions.pick(0.0).with_headers({"If-Match": '"v1"'})
    assert more == b'Authorization: Bearer token-a\r\nIf-Match: "v1"\r\n'
    with pytest.raises(ValueError, match="not a valid HTTP header"):
        subscriptions.pick(0.0).with_headers({"If-Match": "x\r\nEvil: 1"})
    load(monkeypatch, tmp_path, json.dumps({**GOOD, "subscriptions": {}}))
    with pytest.raises(UsageError, match="none of the subscriptions"):
        Subscriptions.from_environment()


@pytest.mark.parametrize(
    "content",
    [
        "not JSON",
        "[]",
        "{}",
        json.dumps({**GOOD, "tokens": {"a": "token-a"}}),
        json.dumps({"tokens": {}, "invoices": {}}),
        json.dumps({**GOOD, "tokens": {"a": "x\r\nEvil: 1", "b": "y"}}),
    ],
)
def test_a_bad_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    with pytest.raises(UsageError, match="BAKEOFF_TOKENS_FILE"):
        load(monkeypatch, tmp_path, content)


def test_no_file_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BAKEOFF_TOKENS_FILE", raising=False)
    with pytest.raises(UsageError, match="BAKEOFF_TOKENS_FILE is not set"):
        Invoices.from_environment()
    monkeypatch.setenv("BAKEOFF_TOKENS_FILE", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="No such file"):
        Invoices.from_environment()


@pytest.mark.parametrize(
    "headers", [{"A b": "x"}, {"": "x"}, {"A": "x\r\nB: y"}, {"A:": "x"}, {"A": "\0"}]
)
def test_headers_cannot_smuggle(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not a valid HTTP header"):
        encode_headers(headers)
