"""A Locust file of a closed model that is paced: each user gets / so many times a second."""

from locust import constant_throughput, task

import os

from bakeoff.load import OpenModelUser, Request


class Paced(OpenModelUser):
    """Over Locust's own client, which has no open model."""

    wait_time = constant_throughput(float(os.environ["BENCH_USER_RPS"]))

    @task  # type: ignore[type-var]
    def get(self) -> Request:
        return self.request.get("/")
