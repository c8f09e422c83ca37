"""A footprint that never was: round numbers, to test what reads one."""

from collections.abc import Mapping

from bakeoff.measure.footprint import CONCERNS, Amount, LineCount, LinesDocument, TimedRun
from bakeoff.measure.footprintsummary import FootprintFacts, ServiceFacts
from bakeoff.measure.operations import OPERATIONS, Repetitions

# Of the first service; the second takes these factors longer, a little more with each repetition.
FACTORS = {"release build": 10.0, "dev build": 5.0, "test": 3.0, "check": 2.0}
_BASE_S = {"release build": 20.0, "dev build": 2.0, "test": 30.0, "check": 1.0}


def lines(code: Mapping[str, int], inline: int = 0) -> LinesDocument:
    """Lines of code by concern; a tenth as many comments, a twentieth blank."""
    return LinesDocument(
        concerns={name: _count(code[name]) for name in CONCERNS},
        apart={
            "generated": _count(1000),
            "locks": _count(50),
            "sql": _count(0),
            "elsewhere": _count(8),
        },
        inline_tests=_count(inline) if inline else _count(0, files=0),
    )


def fake_footprint(
    labels: tuple[str, ...] = ("go", "rust"), repetitions: int = 3, skipped: bool = False
) -> FootprintFacts:
    """A footprint of two services, whose ratios are FACTORS to within three per cent."""
    facts = FootprintFacts(
        created_at="2026-01-02T03:04:05+00:00",
        repetitions=Repetitions(cold=repetitions, incremental=repetitions),
        counter="scc 4.1.0",
        skipped=["cold"] if skipped else [],
        environment={
            "hosts": {
                "local": {
                    "cpu_model": "Example CPU @ 2.00GHz",
                    "cores": 2,
                    "memory_bytes": 8_000_000_000,
                    "kernel": "6.1.0",
                }
            }
        },
    )
    for index, label in enumerate(labels):
        code = {"boot": 100, "handlers": 1000, "domain": 1200, "tests": 2000}
        facts.services[label] = ServiceFacts(
            title=f"A made-up {label}",
            lines=lines(
                {name: count * (10 + index) // 10 for name, count in code.items()}, 40 * index
            ),
            sizes={
                "direct_dependencies": Amount(value=7 + 10 * index),
                "all_dependencies": Amount(value=15 + 100 * index),
                "binary_bytes": Amount(value=18_000_000 // (1 + index)),
                "image_bytes": Amount(value=None, reason="no image was built"),
            },
            toolchain=f"{label} compiler 1.2.3",
            linker="ld 2",
            changes={"leaf": f"{label}/pay", "hub": f"{label}/invoice"},
            commands={name: [label, *one.work.split()] for name, one in OPERATIONS.items()},
        )
    for name, operation in OPERATIONS.items():
        if not (skipped and operation.cold):
            facts.runs += _runs(name, labels, operation.repeats(facts.repetitions))
    return facts


def _runs(name: str, labels: tuple[str, ...], repeats: int) -> list[TimedRun]:
    work = OPERATIONS[name].work
    return [
        TimedRun(
            operation=name,
            service=label,
            repetition=repetition,
            wall_s=_BASE_S[work] * (FACTORS[work] * 1.01**repetition if index else 1.0),
            cpu_s=1.5 * _BASE_S[work],
            peak_rss_bytes=500_000_000 + repetition,
            other_cores=0.02,
        )
        for repetition in range(1, repeats + 1)
        for index, label in enumerate(labels)
    ]


def _count(code: int, files: int = 2) -> LineCount:
    return LineCount(files=files, code=code, comments=code // 10, blanks=code // 20)
