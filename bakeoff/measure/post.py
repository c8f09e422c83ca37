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
