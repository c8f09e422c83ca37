"""What a comparison has so far: written down after every round, so that nothing is lost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from bakeoff.build import BuildRecord
from bakeoff.experiment import Experiment
from bakeoff.measure.document import BlockDocument, RunDocument
from bakeoff.measure.post import POST_SAYS
from bakeoff.measure.records import Finding, RoundRecord
from bakeoff.measure.summary import RunFacts, run_document
from bakeoff.rounds.round import RoundOutcome
from bakeoff.rounds.schedule import Block
from bakeoff.store import ResultsFolder


@dataclass
class RunLedger:
    """Rounds, blocks and facts of one run, and the folder that they go to."""

    folder: ResultsFolder
    experiment: Experiment
    started_at: datetime
    titles: dict[str, str]
    # Of the services that run elsewhere, by name.
    urls: dict[str, str] = field(default_factory=dict)
    builds: dict[str, BuildRecord] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    cores: int = 0
    reference_rate_rps: float | None = None
    floor: dict[str, Any] | None = None
    rounds: list[RoundRecord] = field(default_factory=list)
    blocks: list[BlockDocument] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def begin(self, block: Block) -> None:
        """A block begins."""
        self.blocks.append(
            BlockDocument(order=list(block.order), rerun_of=block.rerun_of, rounds=[])
        )

    def add(self, outcome: RoundOutcome) -> None:
        """A round is finished: it and the run so far go to disk."""
        self.folder.write_round(outcome.record, outcome.intervals, outcome.samples, outcome.log)
        self.rounds.append(outcome.record)
        self.blocks[-1].rounds.append(outcome.record.number)
        self.save(finished=False)

    def save(self, finished: bool) -> RunDocument:
        """Replaces run.json by what is known now."""
        document = self.document(finished)
        self.folder.write_run(document)
        return document

    def document(self, finished: bool) -> RunDocument:
        """The run so far."""
        experiment, labels = self.experiment, self.experiment.labels
        rate = self.reference_rate_rps
        facts = RunFacts(
            created_at=self.started_at.isoformat(timespec="seconds"),
            finished=finished,
            environment=self.environment,
            experiment=msgspec.to_builtins(experiment),
            labels=labels,
            titles={label: self.titles[experiment.service_of(label)] for label in labels},
            builds={label: self._build(label) for label in labels},
            cores=self.cores,
            reference_rate_rps=rate,
            rates_rps=[] if rate is None else [rate],
            connections={
                "fixed": experiment.connections_open,
                "closed": experiment.connections_closed,
            },
            seed=experiment.seed,
            floor=self.floor,
            post_says=POST_SAYS,
            null=experiment.null,
            allow_unequal_work=experiment.allow_unequal_work,
            findings=self.findings,
        )
        return run_document(self.rounds, self.blocks, facts)

    def _build(self, label: str) -> dict[str, Any]:
        service = self.experiment.service_of(label)
        if service in self.urls:
            return {"url": self.urls[service]}
        record = self.builds.get(service)
        found: dict[str, Any] = {} if record is None else msgspec.to_builtins(record)
        return found


def must_rerun(records: Sequence[RoundRecord], causes: frozenset[str]) -> str | None:
    """The fault of the rig for which a block is run again, or None.

    Only findings that void, and only of causes outside the services: a voided figure alone is
    never a reason, since that would drop the slow rounds of the slower service.
    """
    for record in records:
        for finding in record.findings:
            if finding.effect == "voids" and finding.rule in causes:
                return f"{finding.rule}: {finding.found}"
    return None
