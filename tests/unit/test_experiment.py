"""Experiment files: what is right is typed, what is wrong is named."""

from pathlib import Path

import pytest

from bakeoff.errors import UsageError
from bakeoff.experiment import EXPERIMENTS, load_experiment, profiles


@pytest.mark.parametrize("profile", profiles())
def test_every_profile_loads(profile: str) -> None:
    experiment = load_experiment(EXPERIMENTS / f"{profile}.toml")
    assert experiment.profile == profile
    assert experiment.fixed_s <= experiment.fixed_maximum_s


def test_the_tabled_profiles_are_there() -> None:
    quick = load_experiment(EXPERIMENTS / "quick.toml")
    assert (quick.rounds, quick.warm_up_s, quick.fixed_s, quick.closed_s) == (3, 3, 6, 3)
    default = load_experiment(EXPERIMENTS / "default.toml")
    assert (default.rounds, default.warm_up_s, default.fixed_s, default.closed_s) == (6, 8, 15, 5)
    assert (default.fixed_requests, default.fixed_maximum_s) == (10_000, 25)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colour = 3", "colour"),
        ("rounds = 0", "rounds"),
        ("rounds = 'six'", "rounds"),
        ("rate_rps = -5", "rate_rps"),
        ("workload = 'nothing'", "nothing"),
        ("services = ['go', 'cobol']", "cobol"),
        ("services = ['go']", "services"),
        ("services = ['go', 'go']", "--null"),
        ("null = 'cobol'", "cobol"),
        ("arrivals = 'uniform'", "arrivals"),
        ("fixed_s = 30\nfixed_maximum_s = 20", "fixed_maximum_s"),
        ("[placement]\nservice = 'mars'", "mars"),
        ("[hosts.a]\ncommand = []\naddress = '::1'", "command"),
        ("rounds = ", "TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_experiment(path)
    assert named in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml"):
        load_experiment(tmp_path / "nowhere.toml")


def test_overrides_and_flags_win_over_the_file() -> None:
    path = EXPERIMENTS / "quick.toml"
    experiment = load_experiment(path, ["seed=5", "arrivals=constant"], rounds=2, rate_rps=None)
    assert (experiment.seed, experiment.arrivals, experiment.rounds) == (5, "constant", 2)
    assert experiment.rate_rps is None


@pytest.mark.parametrize("override", ["seed", "=5", "sed=5"])
def test_a_bad_override_is_refused(override: str) -> None:
    with pytest.raises(UsageError):
        load_experiment(EXPERIMENTS / "quick.toml", [override])


def test_a_null_test_names_its_labels() -> None:
    experiment = load_experiment(EXPERIMENTS / "quick.toml", null="go")
    assert experiment.labels == ("go-a", "go-b")
    assert experiment.service_of("go-b") == "go"
