"""The samples of one round: every part of the rig on every host, on the round's one clock."""

import time
from collections.abc import Mapping
from contextlib import ExitStack

import msgspec

from bakeoff.hosts.host import Host, Watch
from bakeoff.hosts.records import SampleRow
from bakeoff.measure.samples import CoreSample, OtherSample, Sample, samples_of
from bakeoff.owner import Owner
from bakeoff.rig.rig import Rig
from bakeoff.rig.service import Service
from bakeoff.rig.swarm import Swarm

_INTERVAL_S = 0.1
SERVICE = "service"


class Sampling(Owner):
    """Watches the parts from entry to exit; what was seen can be read afterwards.

    `zero_s` is the round's start on this machine's monotonic clock. Other machines' clocks are
    moved onto it by the offset measured at entry, so times of two machines agree to about a
    millisecond; differences of one machine's counters are exact.
    """

    def __init__(self, rig: Rig, service: Service, swarm: Swarm, zero_s: float) -> None:
        self.zero_s = zero_s
        self._service_host = service.host.name
        self._parts = rig.parts(service, swarm)
        self._hosts: Mapping[str, Host] = rig.hosts
        self._watches: dict[str, Watch] = {}
        self._offsets_s: dict[str, float] = {}
        self._extra: dict[str, list[SampleRow]] = {}

    def _begin(self, stack: ExitStack) -> None:
        for name, parts in self._parts.items():
            host = self._hosts[name]
            self._offsets_s[name] = host.clock_offset_s()
            self._watches[name] = stack.enter_context(host.watch(parts, _INTERVAL_S))
            self._extra[name] = []

    def on_round_clock(self, monotonic_s: float) -> float:
        """A moment of this machine's monotonic clock as seconds since the round's start."""
        return monotonic_s - self.zero_s

    def read_all(self) -> float:
        """Reads every part now, beside the regular samples. Gives the moment before, on the round's
        clock: all these readings are at or after it."""
        moment_s = self.on_round_clock(time.monotonic())
        for name, watch in self._watches.items():
            self._extra[name] += [watch.read_now(part) for part in self._parts[name]]
        return moment_s

    def reset_peak(self) -> None:
        """Sets the service's high-water mark of memory to its present memory, where it is ours."""
        if SERVICE in self._parts.get(self._service_host, {}):
            self._watches[self._service_host].reset_peak(SERVICE)

    def samples(self) -> dict[str, list[Sample]]:
        """All samples so far by host, in order of time."""
        found = {}
        for name, watch in self._watches.items():
            zero_s = self.zero_s + self._offsets_s[name]
            rows = [*watch.samples(), *self._extra[name]]
            found[name] = sorted(samples_of(rows, Sample, zero_s), key=lambda one: one.t_s)
        return found

    def of_service(self) -> list[Sample]:
        """The samples of the service, in order of time."""
        found = self.samples()[self._service_host]
        return [sample for sample in found if sample.part == SERVICE]

    def labelled(self) -> list[Sample]:
        """All samples in order of time; a part of another host than the service's has its host
        behind its name."""
        found = [
            sample
            if name == self._service_host
            else msgspec.structs.replace(sample, part=f"{sample.part}@{name}")
            for name, samples in self.samples().items()
            for sample in samples
        ]
        return sorted(found, key=lambda one: one.t_s)

    def service_cores(self) -> list[CoreSample]:
        """The cores of the service's machine."""
        watch = self._watches[self._service_host]
        zero_s = self.zero_s + self._offsets_s[self._service_host]
        return samples_of(watch.cores(), CoreSample, zero_s)

    def others(self) -> list[OtherSample]:
        """Processes of no part on the service's machine."""
        watch = self._watches[self._service_host]
        zero_s = self.zero_s + self._offsets_s[self._service_host]
        return samples_of(watch.others(), OtherSample, zero_s)
