"""The Locust file behind `bakeoff load URL`: GET of one path, any status under 400 is an answer."""

from locust import events, task

from typing import Any

from bakeoff.load import OpenModelUser, Request


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_path(parser: Any) -> None:
    """Locust: the path is an argument, and a field of its page."""
    parser.add_argument("--path", default="/", help="Path and query to GET")


class AdHoc(OpenModelUser):
    """Each arrival gets the path."""

    @task  # type: ignore[type-var]
    def get(self) -> Request:
        return self.request.get(self.environment.parsed_options.path)
