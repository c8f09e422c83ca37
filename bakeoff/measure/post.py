"""The figures of the blog post "Rust vs Go for Backend APIs": its claims, never our results.

Its setup: a billing API, one request = an auth check, two prepared queries, one gRPC call to a
stub, JSON out; a single instance with 4 CPUs and 8 GB. The post publishes no raw data, no load
generator and no machine. `cpu_percent_at_10k_rps` is the post's "CPU at 10,000 req/s"; whether
that is of one CPU or of four it does not say.
"""

POST_TITLE = "Rust vs Go for Backend APIs"
POST_SETUP = "a single instance, 4 CPUs, 8 GB"
POST_CPUS = 4
# Its columns, by the names of the services that ship with bakeoff.
POST_SERVICES = ("go", "rust")

# Table 3 of the post, in its order.
POST_SAYS: dict[str, dict[str, float]] = {
    "throughput_rps": {"go": 18_400, "rust": 27_800},
    "p50_ms": {"go": 4.2, "rust": 2.8},
    "p99_ms": {"go": 18, "rust": 11},
    "rss_steady_bytes": {"go": 180e6, "rust": 95e6},
    "rss_peak_bytes": {"go": 410e6, "rust": 130e6},
    "cpu_percent_at_10k_rps": {"go": 65, "rust": 38},
}

# Table 1, lines of code; of what kind it does not say.
POST_LINES: dict[str, dict[str, float]] = {
    "boot": {"go": 88, "rust": 64},
    "handlers": {"go": 520, "rust": 480},
    "domain": {"go": 640, "rust": 600},
    "tests": {"go": 430, "rust": 390},
    "total": {"go": 1680, "rust": 1530},
}
POST_LINES_SETUP = "Go 1.17, Rust 1.59"

# Table 2, seconds, by what they are held against here: whether its build is a release build, and
# which file it changed, the post does not say.
POST_COMPILE_S: dict[str, dict[str, float]] = {
    "cold_release_build": {"go": 12, "rust": 240},
    "leaf_dev_build": {"go": 0.8, "rust": 6},
    "hub_dev_build": {"go": 0.8, "rust": 6},
    "cold_test": {"go": 18, "rust": 300},
    "leaf_test": {"go": 1.5, "rust": 8},
    "hub_test": {"go": 1.5, "rust": 8},
}
