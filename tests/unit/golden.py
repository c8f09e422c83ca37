"""Golden files: a text is held against the one that was looked over and committed."""

from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def check(name: str, text: str, update: bool) -> None:
    """Compares a text with `golden/<name>`, or writes it anew under `--update-golden`."""
    path = FOLDER / name
    if update:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"no golden file {name}: make it with pytest --update-golden"
    assert text == path.read_text(encoding="utf-8"), (
        f"{name} differs: look it over, then pytest --update-golden"
    )
