"""How Locust's own test ends once ours is over."""

from locust.runners import STATE_STOPPING
from locust.stats import CSV_STATS_INTERVAL_SEC

from typing import Any

import gevent


def stop_locust(environment: Any) -> None:
    """Stops Locust's test, or ends a headless Locust."""
    runner = environment.runner
    # While Locust is still spawning a stop would leave it half started.
    while runner.state == "spawning":
        gevent.sleep(0.01)
    if environment.parsed_options.headless:
        let_files_follow(environment)
        runner.quit()
    elif runner.state != STATE_STOPPING:
        runner.stop()


def let_files_follow(environment: Any) -> None:
    """Locust writes its CSV files once a second, not at the end: waits for the last time."""
    options = environment.parsed_options
    if options.headless and options.csv_prefix:
        gevent.sleep(CSV_STATS_INTERVAL_SEC + 0.1)
