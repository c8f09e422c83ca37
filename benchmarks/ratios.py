"""What the figures are for: ratios of the instrument to its anchors, from one run."""

from collections.abc import Mapping

# By name: what over what.
RATIOS = {
    "generator_over_wrk": ("generator_us_per_request", "wrk_us_per_request"),
    "generator_over_wrk_with_ids": (
        "generator_us_per_request_with_ids",
        "wrk_us_per_request_with_ids",
    ),
    "generator_over_fasthttpuser": ("generator_us_per_request", "fasthttpuser_us_per_request"),
    "stub_wire_over_grpcio": ("stub_wire_us_per_call", "stub_grpcio_us_per_call"),
    "stub_wire_over_go": ("stub_wire_us_per_call", "stub_go_us_per_call"),
    "stub_wire_over_grpcio_4_connections": (
        "stub_wire_us_per_call_4_connections",
        "stub_grpcio_us_per_call_4_connections",
    ),
    "stub_wire_over_go_4_connections": (
        "stub_wire_us_per_call_4_connections",
        "stub_go_us_per_call_4_connections",
    ),
    "stub_wire_over_grpcio_at_1000": (
        "stub_wire_us_per_call_at_1000",
        "stub_grpcio_us_per_call_at_1000",
    ),
    "stub_wire_over_go_at_1000": ("stub_wire_us_per_call_at_1000", "stub_go_us_per_call_at_1000"),
    "stub_wire_over_grpcio_by_go_service": (
        "stub_wire_us_per_call_by_go_service",
        "stub_grpcio_us_per_call_by_go_service",
    ),
    "stub_wire_over_go_by_go_service": (
        "stub_wire_us_per_call_by_go_service",
        "stub_go_us_per_call_by_go_service",
    ),
    "stub_wire_over_grpcio_by_rust_service": (
        "stub_wire_us_per_call_by_rust_service",
        "stub_grpcio_us_per_call_by_rust_service",
    ),
    "stub_wire_over_go_by_rust_service": (
        "stub_wire_us_per_call_by_rust_service",
        "stub_go_us_per_call_by_rust_service",
    ),
    "end_to_end_over_stock": ("end_to_end_rps", "end_to_end_stock_rps"),
    "master_over_stock": ("master_us_per_worker_report", "stock_master_us_per_worker_report"),
}
# Medians of differences of percentiles.
DIFFERENCES = ("lateness_p99_over_bare_ms", "lateness_p999_over_bare_ms")


def ratios(found: Mapping[str, float]) -> dict[str, float]:
    """The ratios of the medians that are there."""
    return {
        name: found[one] / found[other]
        for name, (one, other) in RATIOS.items()
        if one in found and other in found
    }
