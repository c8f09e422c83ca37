"""The floor: the same generator at the same rate against a server that answers at once.

Each arrival is one GET, also where the workload's are several requests.

What it shows is the instrument's own latency on this machine; no service can come out below it.
"""

import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from bakeoff.experiment import Experiment
from bakeoff.hosts.host import ProcessSpec
from bakeoff.hosts.protocol import PYTHON
from bakeoff.measure.histograms import percentiles_ms
from bakeoff.measure.phase import decode_measurement, merged_latency, merged_lateness
from bakeoff.progress import Progress
from bakeoff.rig.rig import Rig
from bakeoff.rig.swarm import Swarm
from bakeoff.rig.swarmclient import PhasePlan

_START_DEADLINE_S = 20.0
# The others go on from what they are told, which the null server does not know.
_WORKLOAD = "payment_status"
_PERCENTILES = (50.0, 99.0)


def measure_floor(
    rig: Rig, experiment: Experiment, rate_rps: float, progress: Progress
) -> dict[str, Any]:
    """p50 and p99 of latency and lateness in milliseconds at `rate_rps` against the null server,
    which stands on the service's cores."""
    host = rig.hosts[experiment.placement.service]
    address = rig.address(experiment.placement.service)
    spec = ProcessSpec(
        name="null server",
        argv=[PYTHON, "-m", "bakeoff.nullserver", "--mode", "at-once", "--host", address],
        environment={},
        cwd=".",
        log=str(rig.folder / "nullserver.log"),
        cpus=rig.cores.service,
    )
    progress.phase("floor", "null server", experiment.floor_s)
    with host.start(spec) as process, _swarm(rig, experiment) as swarm:
        port = json.loads(process.wait_for_line('"port"', _START_DEADLINE_S))["port"]
        answer = swarm.run(
            PhasePlan(
                target=f"http://{address}:{port}",
                rate_rps=rate_rps,
                arrivals=experiment.arrivals,
                duration_s=experiment.floor_s,
                connections=experiment.connections_open,
                seed=experiment.seed,
                request_timeout_s=experiment.request_timeout_s,
            ),
            lambda now: progress.tick(now.elapsed_s, now.rate_rps, now.p99_ms),
        )
    measurement = decode_measurement(answer)
    latency = percentiles_ms(merged_latency(measurement), _PERCENTILES)
    lateness = percentiles_ms(merged_lateness(measurement), _PERCENTILES)
    return {
        "rate_rps": rate_rps,
        "requests": measurement.counts.answered,
        "p50_ms": latency[50.0],
        "p99_ms": latency[99.0],
        "lateness_p50_ms": lateness[50.0],
        "lateness_p99_ms": lateness[99.0],
    }


def _swarm(rig: Rig, experiment: Experiment) -> AbstractContextManager[Swarm]:
    """The rig's own where it sends the same, else one for the occasion."""
    label = experiment.labels[0]
    if experiment.workload == _WORKLOAD:
        return nullcontext(rig.swarm_for(label))
    return rig.new_swarm(_WORKLOAD, rig.access(label))
