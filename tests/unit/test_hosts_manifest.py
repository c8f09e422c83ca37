"""A `service.toml`: what is taken, and what is refused with file and key."""

from pathlib import Path

import pytest

from bakeoff.errors import UsageError
from bakeoff.experiment import SERVICES
from bakeoff.manifest import load_manifest

_WHOLE = """
name = "third"
title = "A third service"
[build]
command = ["make", "all"]
artifact = "bin/third"
toolchain = ["make", "--version"]
release_flags = ["all"]
[run]
command = ["bin/third", "--quiet"]
[run.environment]
GOGC = "100"
[test]
command = ["make", "test"]
[sources]
boot = ["main.c"]
[footprint]
check = ["make", "check"]
[footprint.caches]
OUT = "obj"
[footprint.dev]
command = ["make", "dev"]
artifact = "dev/third"
[footprint.leaf]
file = "main.c"
after = "int main(void) {"
insert = "use({n});"
"""


def _write(folder: Path, text: str, name: str = "third") -> Path:
    path = folder / name / "service.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_a_whole_manifest(tmp_path: Path) -> None:
    path = _write(tmp_path, _WHOLE)
    manifest = load_manifest("third", tmp_path)
    assert (manifest.path, manifest.folder) == (path, path.parent)
    assert manifest.build is not None and manifest.run is not None
    assert manifest.build.release_flags == ["all"]
    assert manifest.run.environment == {"GOGC": "100"}
    assert manifest.commands == [
        ["bin/third", "--quiet"],
        ["make", "all"],
        ["make", "test"],
        ["make", "--version"],
        ["make", "check"],
        ["make", "dev"],
    ]
    assert manifest.footprint is not None
    assert manifest.footprint.caches == {"OUT": "obj"}
    assert manifest.sources.boot == ["main.c"]
    assert manifest.url is None


def test_a_service_that_runs(tmp_path: Path) -> None:
    _write(tmp_path, 'name = "third"\ntitle = "x"\nurl = "http://10.0.0.7:8080"\n')
    manifest = load_manifest("third", tmp_path)
    assert manifest.url == "http://10.0.0.7:8080"
    assert (manifest.build, manifest.run, manifest.commands) == (None, None, [])


@pytest.mark.parametrize("service", ["go", "rust"])
def test_ours_are_whole(service: str) -> None:
    manifest = load_manifest(service)
    assert manifest.build is not None
    assert all(flag in manifest.build.command for flag in manifest.build.release_flags)
    for concern in ("boot", "handlers", "domain", "tests"):
        globs = getattr(manifest.sources, concern)
        assert globs
        assert all(list(manifest.folder.glob(glob)) for glob in globs), (SERVICES, concern)


BAD = [
    ("name =", "nam =", "nam"),
    ('"third"', '"fourth"', "`name`"),
    ('"third"', '"Third"', "name"),
    ('title = "A third service"', "", "title"),
    ("release_flags", "release_flag", "release_flag"),
    ('artifact = "bin/third"', 'artifact = "../third"', "`build.artifact`"),
    ('artifact = "bin/third"', 'artifact = "/bin/sh"', "`build.artifact`"),
    ('artifact = "bin/third"', 'artifact = ""', "`build.artifact`"),
    ('artifact = "bin/third"', 'artifact = "out/sh"', "link out"),
    ('"bin/third", "--quiet"', '"/bin/sh", "-c"', "`run.command`"),
    ('"bin/third", "--quiet"', '"bin/../../sh"', "`run.command`"),
    ('"bin/third", "--quiet"', '"out/sh"', "link out"),
    ('["bin/third", "--quiet"]', "[]", "command"),
    ('["bin/third", "--quiet"]', '"bin/third"', "command"),
    ('"--quiet"', '"a\\u0000b"', "NUL"),
    ('GOGC = "100"', "GOGC = 100", "environment"),
    ('GOGC = "100"', '"GO GC" = "100"', "environment"),
    ('boot = ["main.c"]', 'boot = ["../*.c"]', "`sources.boot`"),
    ('boot = ["main.c"]', 'shoes = ["main.c"]', "shoes"),
    ("[build]", 'url = "http://h:1"\n[build]', "beside"),
    ("[run]", "[run", "TOML"),
    ('["make", "check"]', '["make", "a\\u0000b"]', "NUL"),
    ('OUT = "obj"', 'OUT = "../out"', "`footprint.caches.OUT`"),
    ('OUT = "obj"', 'OUT = "/tmp"', "`footprint.caches.OUT`"),
    ('OUT = "obj"', '"O UT" = "out"', "caches"),
    ('OUT = "obj"', "", "caches"),
    ('artifact = "dev/third"', 'artifact = "/bin/sh"', "`footprint.dev.artifact`"),
    ('file = "main.c"', 'file = "../main.c"', "`footprint.leaf.file`"),
    ('after = "int main(void) {"', 'after = "a\\nb"', "after"),
    ('insert = "use({n});"', 'insert = "use(1);"', "insert"),
]


@pytest.mark.parametrize(("old", "new", "named"), BAD)
def test_a_bad_manifest_names_file_and_key(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in _WHOLE
    path = _write(tmp_path, _WHOLE.replace(old, new, 1))
    (path.parent / "out").symlink_to("/bin")
    with pytest.raises(UsageError, match=named) as caught:
        load_manifest("third", tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://h:1", "http://", "http://h:x", "http://h:1/path", "http://u@h:1", "h:1"]
)
def test_a_bad_url(tmp_path: Path, url: str) -> None:
    path = _write(tmp_path, f'name = "third"\ntitle = "x"\nurl = "{url}"\n')
    with pytest.raises(UsageError, match="`url`") as caught:
        load_manifest("third", tmp_path)
    assert str(path) in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    services = tmp_path / "services"
    _write(tmp_path / "elsewhere", _WHOLE)
    services.mkdir()
    (services / "third").symlink_to(tmp_path / "elsewhere" / "third")
    with pytest.raises(UsageError, match="leads out of"):
        load_manifest("third", services)
    with pytest.raises(UsageError, match=r"No such file.*A service is a folder"):
        load_manifest("fourth", services)
    _write(services, "x" * 100_000, "fifth")
    with pytest.raises(UsageError, match="over 65536 bytes"):
        load_manifest("fifth", services)
    (services / "fifth" / "service.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_manifest("fifth", services)
    (services / "fifth" / "service.toml").write_text('name = "fifth"\ntitle = "x"\n')
    with pytest.raises(UsageError, match=r"needs \[build\] and \[run\], or `url`"):
        load_manifest("fifth", services)
