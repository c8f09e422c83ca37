"""Which behaviours the stub takes, and that its draws follow them."""

import math
from collections import Counter
from itertools import islice

import pytest

from protos.payment.v1.payment_pb2 import (
    METHOD_CREATE_PAYMENT,
    METHOD_GET_PAYMENT,
    Behaviour,
    Exponential,
    Fault,
    Latency,
    Lognormal,
)
from stub_payment.behaviour import Dice, Plan, check_behaviour, dice_for
from stub_payment.faults import DealtFault, InvalidBehaviourError

DRAWS = 20_000
SIGMAS = 4


def draws(
    behaviour: Behaviour, process_index: int = 0, method: str = "GetPayment"
) -> list[Plan | None]:
    check_behaviour(behaviour)
    dice = Dice(behaviour, process_index)
    return list(islice(iter(lambda: dice.throw(method), object()), DRAWS))


def faults_dealt(faults: list[Fault], method: str) -> set[DealtFault | None]:
    return {plan.fault if plan else None for plan in draws(Behaviour(faults=faults), 0, method)}


def delays_s(latency: Latency) -> list[float]:
    return [plan.delay_s for plan in draws(Behaviour(latency=latency, seed=7)) if plan]


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance)


def test_without_latency_and_faults_there_is_nothing_to_draw() -> None:
    assert dice_for(Behaviour(remember_request_ids=5, seed=1), 0) is None


def test_a_fixed_latency_is_every_call_s() -> None:
    assert set(delays_s(Latency(fixed_ms=12.5))) == {0.0125}


def test_a_latency_of_zero_is_an_answer_at_once() -> None:
    assert set(draws(Behaviour(latency=Latency(fixed_ms=0)))) == {None}


def test_lognormal_draws_have_the_median_and_the_sigma() -> None:
    shape = Lognormal(median_ms=20, sigma=0.5)
    mean, deviation = mean_and_deviation([math.log(s) for s in delays_s(Latency(lognormal=shape))])
    assert mean == pytest.approx(math.log(0.020), abs=SIGMAS * 0.5 / math.sqrt(DRAWS))
    assert deviation == pytest.approx(0.5, abs=SIGMAS * 0.5 / math.sqrt(2 * DRAWS))


def test_exponential_draws_have_the_mean_and_its_deviation() -> None:
    mean, deviation = mean_and_deviation(delays_s(Latency(exponential=Exponential(mean_ms=10))))
    assert mean == pytest.approx(0.010, abs=SIGMAS * 0.010 / math.sqrt(DRAWS))
    # The variance of an exponential's sample variance is 8 mean**4 / n.
    assert deviation**2 == pytest.approx(1e-4, abs=SIGMAS * math.sqrt(8 / DRAWS) * 1e-4)


@pytest.mark.parametrize(
    "latency",
    [
        Latency(lognormal=Lognormal(median_ms=20, sigma=1, maximum_ms=30)),
        Latency(exponential=Exponential(mean_ms=20, maximum_ms=30)),
    ],
)
def test_draws_are_cut_to_the_maximum(latency: Latency) -> None:
    delays = delays_s(latency)
    assert max(delays) == 0.030
    assert 0 < delays.count(0.030) < DRAWS


def test_faults_are_dealt_by_their_share() -> None:
    faults = [
        Fault(share=0.02, status_code=14),
        Fault(share=0.1, hang=True),
        Fault(share=0.3, status_code=13),
        Fault(share=0.05, reset=True),
    ]
    dealt: Counter[tuple[str, int]] = Counter(
        (plan.fault.kind, plan.fault.code)
        for plan in draws(Behaviour(faults=faults, seed=3))
        if plan and plan.fault
    )
    shares = {
        ("status_code", 14): 0.02,
        ("hang", 0): 0.1,
        ("status_code", 13): 0.3,
        ("reset", 0): 0.05,
    }
    assert dealt.keys() == shares.keys()
    for key, share in shares.items():
        slack = SIGMAS * math.sqrt(DRAWS * share * (1 - share))
        assert dealt[key] == pytest.approx(DRAWS * share, abs=slack)


def test_decimal_shares_that_add_up_to_one_deal_every_call() -> None:
    faults = [Fault(share=0.1, status_code=code) for code in range(1, 11)]
    assert all(plan and plan.fault for plan in draws(Behaviour(faults=faults)))


@pytest.mark.parametrize(
    ("fault", "dealt"),
    [
        (Fault(share=1, charge_after_ms=1500), DealtFault("charge_after_ms", after_s=1.5)),
        (Fault(share=1, duplicate=True), DealtFault("duplicate")),
        (Fault(share=1, decline=True), DealtFault("decline")),
        (Fault(share=1, wrong_amount=True), DealtFault("wrong_amount")),
        (
            Fault(share=1, reset=True, after_execution=True),
            DealtFault("reset", after_execution=True),
        ),
        (
            Fault(share=1, hang=True, method=METHOD_CREATE_PAYMENT),
            DealtFault("hang"),
        ),
    ],
)
def test_what_is_about_a_charge_meets_no_other_call(fault: Fault, dealt: DealtFault) -> None:
    assert faults_dealt([fault], "CreatePayment") == {dealt}
    assert faults_dealt([fault], "GetPayment") == {None}


def test_a_fault_of_no_method_meets_both() -> None:
    fault = Fault(share=1, goaway=True)
    for method in ("GetPayment", "CreatePayment"):
        assert faults_dealt([fault], method) == {DealtFault("goaway")}


def test_each_method_has_shares_of_its_own() -> None:
    gets = Fault(share=1, status_code=14, method=METHOD_GET_PAYMENT)
    charges = [Fault(share=0.5, decline=True), Fault(share=0.5, duplicate=True)]
    assert faults_dealt([gets, *charges], "GetPayment") == {DealtFault("status_code", 14)}
    assert faults_dealt([gets, *charges], "CreatePayment") == {
        DealtFault("decline"),
        DealtFault("duplicate"),
    }


def test_the_seed_and_the_process_make_the_draws() -> None:
    def behaviour(seed: int) -> Behaviour:
        return Behaviour(latency=Latency(exponential=Exponential(mean_ms=1)), seed=seed)

    assert draws(behaviour(1)) == draws(behaviour(1))
    assert draws(behaviour(1)) != draws(behaviour(2))
    assert draws(behaviour(1), 0) != draws(behaviour(1), 1)


@pytest.mark.parametrize(
    ("behaviour", "field"),
    [
        (Behaviour(latency=Latency(fixed_ms=-1)), "latency.fixed_ms"),
        (Behaviour(latency=Latency(fixed_ms=math.nan)), "latency.fixed_ms"),
        (Behaviour(latency=Latency(fixed_ms=3_600_001)), "latency.fixed_ms"),
        (Behaviour(latency=Latency(lognormal=Lognormal())), "latency.lognormal.median_ms"),
        (
            Behaviour(latency=Latency(lognormal=Lognormal(median_ms=1, sigma=-0.1))),
            "latency.lognormal.sigma",
        ),
        (
            Behaviour(latency=Latency(lognormal=Lognormal(median_ms=1, maximum_ms=math.inf))),
            "latency.lognormal.maximum_ms",
        ),
        (
            Behaviour(latency=Latency(exponential=Exponential(mean_ms=5e-324))),
            "latency.exponential.mean_ms",
        ),
        (
            Behaviour(latency=Latency(exponential=Exponential(mean_ms=1, maximum_ms=-1))),
            "latency.exponential.maximum_ms",
        ),
        (Behaviour(faults=[Fault(share=1.1, hang=True)]), "faults[0].share"),
        (Behaviour(faults=[Fault(share=-0.1, hang=True)]), "faults[0].share"),
        (
            Behaviour(faults=[Fault(share=0.1, hang=True), Fault(share=0.1)]),
            "faults[1].kind",
        ),
        (Behaviour(faults=[Fault(share=0.1, status_code=0)]), "faults[0].status_code"),
        (Behaviour(faults=[Fault(share=0.1, status_code=17)]), "faults[0].status_code"),
        (Behaviour(faults=[Fault(share=0.1, hang=False)]), "faults[0].hang"),
        (Behaviour(faults=[Fault(share=0.1, reset=False)]), "faults[0].reset"),
        (Behaviour(faults=[Fault(share=0.1, goaway=False)]), "faults[0].goaway"),
        (Behaviour(faults=[Fault(share=0.1, duplicate=False)]), "faults[0].duplicate"),
        (Behaviour(faults=[Fault(share=0.1, decline=False)]), "faults[0].decline"),
        (Behaviour(faults=[Fault(share=0.1, wrong_amount=False)]), "faults[0].wrong_amount"),
        (Behaviour(faults=[Fault(share=0.1, charge_after_ms=-1)]), "faults[0].charge_after_ms"),
        (
            Behaviour(faults=[Fault(share=0.1, charge_after_ms=3_600_001)]),
            "faults[0].charge_after_ms",
        ),
        (
            Behaviour(faults=[Fault(share=0.1, decline=True, method=METHOD_GET_PAYMENT)]),
            "faults[0].method",
        ),
        (
            Behaviour(
                faults=[
                    Fault(share=0.1, hang=True, method=METHOD_GET_PAYMENT, after_execution=True)
                ]
            ),
            "faults[0].method",
        ),
        (
            Behaviour(faults=[Fault(share=0.1, hang=True, method=3)]),  # type: ignore[arg-type]
            "faults[0].method",
        ),
        (
            Behaviour(faults=[Fault(share=0.1, decline=True, after_execution=True)]),
            "faults[0].after_execution",
        ),
        (Behaviour(faults=[Fault(share=0.6, hang=True)] * 2), "faults"),
        (
            Behaviour(faults=[Fault(share=0.6, hang=True), Fault(share=0.6, decline=True)]),
            "faults",
        ),
        (Behaviour(remember_request_ids=1_000_001), "remember_request_ids"),
    ],
)
def test_a_behaviour_that_cannot_be_is_refused_by_its_field(
    behaviour: Behaviour, field: str
) -> None:
    with pytest.raises(InvalidBehaviourError) as caught:
        check_behaviour(behaviour)
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize(
    "latency",
    [
        Latency(lognormal=Lognormal(median_ms=3_600_000, sigma=10)),
        Latency(lognormal=Lognormal(median_ms=1e-6, sigma=10)),
        Latency(exponential=Exponential(mean_ms=1e-6)),
        Latency(exponential=Exponential(mean_ms=3_600_000)),
    ],
)
def test_the_limits_that_are_allowed_can_be_drawn(latency: Latency) -> None:
    assert all(0 <= delay_s <= 3_600 for delay_s in delays_s(latency))
