"""The contract's page says of framing what the golden files hold, and all that differs there."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "services" / "contract" / "README.md"
GOLDEN = ROOT / "tests" / "contract" / "golden"


def _answers(service: str) -> dict[str, str]:
    text = (GOLDEN / f"framing_{service}.txt").read_text(encoding="utf-8")
    return dict(line.split(": ", 1) for line in text.splitlines())


def _published() -> dict[str, tuple[str, str]]:
    page = PAGE.read_text(encoding="utf-8")
    section = page.split("\n## Framing\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return {name: (go, rust) for name, _, go, rust in rows[2:] if name}


def test_every_difference_in_framing_is_published() -> None:
    go, rust = _answers("go"), _answers("rust")
    assert list(go) == list(rust)
    differing = {name: (go[name], rust[name]) for name in go if go[name] != rust[name]}
    assert differing  # two servers of their own
    assert _published() == differing
