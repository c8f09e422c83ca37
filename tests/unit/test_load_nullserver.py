"""The null server's answers are those that the truth tests expect."""

import itertools
import random

import numpy as np
import pytest
import scipy

from bakeoff.nullserver import answers_with_ids, fixed, lognormal, mm1, same_answers, stall

MS = 1_000_000


def test_answers_with_ids_differ_in_their_heads_alone() -> None:
    plain = next(same_answers())
    heads = set()
    for answer in itertools.islice(answers_with_ids(), 300):
        head, _, body = answer.partition(b"\r\n\r\n")
        *rest, number = head.split(b"\r\n")
        assert b"\r\n".join(rest) + b"\r\n\r\n" + body == plain
        assert number.startswith(b"X-Request-Id: ") and len(number.split()[1]) == 36
        heads.add(head)
    assert len(heads) == 300


def test_fixed() -> None:
    assert fixed(2.5)(7) == 7 + 2_500_000


def test_lognormal_has_its_median_and_sigma() -> None:
    answer_at = lognormal(4, 0.5, random.Random(1))
    delays_ms = np.array([answer_at(0) for _ in range(5000)]) / MS
    assert scipy.stats.kstest(np.log(delays_ms), scipy.stats.norm(np.log(4), 0.5).cdf).pvalue > 0.01


def test_stall_holds_the_first_part_of_each_period() -> None:
    answer_at = stall(1, 500, 5000, start_ns=1000)
    for phase_ms, expected_ms in ((0, 501), (100, 401), (499, 2), (500, 1), (4999, 1), (5100, 401)):
        received = 1000 + phase_ms * MS
        assert answer_at(received) - received == expected_ms * MS


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_mm1_is_an_exponential_time_in_the_system(load: float) -> None:
    rng = np.random.default_rng(1)
    arrivals = np.cumsum(rng.exponential(2 / load, 100_000)) * MS
    answer_at = mm1(2, random.Random(2))
    times_ms = np.array([answer_at(int(at)) - int(at) for at in arrivals]) / MS
    # Far enough apart to be nearly independent.
    apart = times_ms[1000::200]
    assert scipy.stats.kstest(apart, scipy.stats.expon(scale=2 / (1 - load)).cdf).pvalue > 0.01
