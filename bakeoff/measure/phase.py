"""A `PhaseMeasurement` on its way from the Locust master: JSON, and its merged histograms."""

import msgspec
from hdrh.histogram import HdrHistogram

from bakeoff.measure import histograms
from bakeoff.measure.measurement import PhaseMeasurement


def encode_measurement(measurement: PhaseMeasurement) -> bytes:
    """The measurement as JSON."""
    return msgspec.json.encode(measurement)


def decode_measurement(data: bytes) -> PhaseMeasurement:
    """The measurement behind `encode_measurement`; ValueError names what is wrong."""
    return msgspec.json.decode(data, type=PhaseMeasurement)


def merged_latency(measurement: PhaseMeasurement) -> HdrHistogram:
    """Latency from the intended start, of answered and timed-out requests, whole phase."""
    return histograms.merge(histograms.decode(one.latency) for one in measurement.intervals)


def merged_lateness(measurement: PhaseMeasurement) -> HdrHistogram:
    """Sent minus intended, of arrivals that found a free connection, whole phase."""
    return histograms.merge(histograms.decode(one.lateness) for one in measurement.intervals)
