"""Digests beside the tags of base images, as a registry gives them."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bakeoff import toolchains

# Asks any registry, with the user's own logins. Run by Go, so nothing has to be installed.
_CRANE = "github.com/google/go-containerregistry/cmd/crane@v0.22.1"
_DEADLINE_S = 600.0
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# In a container file and in a compose file, and what may stand behind.
_REFERENCE = re.compile(
    r"^(?P<start>FROM\s+|\s*image:\s*)(?P<name>[^\s@:]+(?::\d+/[^\s@:]+)?:[^\s@/]+)"
    r"(?:@sha256:[0-9a-f]{64})?(?=\s|$)",
    re.MULTILINE,
)


class NoAnswerError(Exception):
    """No registry gave a digest; the message is its own, or why it could not be asked."""


@dataclass(frozen=True)
class Pin:
    """What became of a reference: its digest, or the reason that it has none."""

    reference: str
    digest: str | None
    reason: str | None


def pin_files(paths: list[Path], digest_of: Callable[[str], str]) -> list[Pin]:
    """Writes the digest of each tagged image behind its tag, in place of one that is there.

    A reference without an answer stays as it is. `digest_of` raises NoAnswerError for those.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    names = sorted({m["name"] for text in texts.values() for m in _REFERENCE.finditer(text)})
    pins = {name: _pin(name, digest_of) for name in names}

    def written(match: re.Match[str]) -> str:
        digest = pins[match["name"]].digest
        return f"{match['start']}{match['name']}@{digest}" if digest else match[0]

    for path, text in texts.items():
        pinned = _REFERENCE.sub(written, text)
        if pinned != text:
            path.write_text(pinned, encoding="utf-8")
    return list(pins.values())


def registry_digest(reference: str) -> str:
    """The digest of an image, of all its platforms, from its registry. Raises NoAnswerError."""
    go = toolchains.find("go")
    try:
        asked = subprocess.run(
            [str(go), "run", _CRANE, "digest", reference],
            env=toolchains.environment("go"),
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"no answer within {_DEADLINE_S:g} s") from None
    digest = asked.stdout.strip()
    if asked.returncode != 0 or not _DIGEST.fullmatch(digest):
        raise NoAnswerError(_last_words(asked.stderr or asked.stdout))
    return digest


def _pin(reference: str, digest_of: Callable[[str], str]) -> Pin:
    try:
        return Pin(reference, digest_of(reference), None)
    except NoAnswerError as error:
        return Pin(reference, None, str(error))


def _last_words(text: str) -> str:
    # The last line is Go's own, of the program that it ran.
    lines = [line for line in text.splitlines() if not line.startswith("exit status")]
    return lines[-1] if lines else "it said nothing"
