"""What happens in a Locust process that has imported `bakeoff.load`: the parts are put in place."""

from locust import argument_parser, events
from locust.runners import MasterRunner, WorkerRunner

import functools
from collections.abc import Iterable
from typing import Any

import gevent

from bakeoff.load import web
from bakeoff.load.announce import announce, bound_port
from bakeoff.load.collector import Collector
from bakeoff.load.openfiles import WorkerRoom
from bakeoff.load.recorder import Recorder
from bakeoff.load.settings import parse_settings, uses_fast_http
from bakeoff.load.user import OpenModelUser


@events.init.add_listener  # type: ignore[untyped-decorator]
def on_init(environment: Any, **_: Any) -> None:
    """Locust: the process is set up, but serves nothing yet. An exception here ends it."""
    if not any(issubclass(one, OpenModelUser) for one in environment.user_classes):
        return
    parse_settings(vars(environment.parsed_options))
    runner = environment.runner
    if uses_fast_http(environment):
        if not isinstance(runner, MasterRunner):
            _set_up(environment.user_classes)
        return
    if isinstance(runner, WorkerRunner):
        # Locust builds this for each of its options when a test starts: 0.3 s in all.
        argument_parser.default_args_dict = functools.cache(argument_parser.default_args_dict)
        announce("worker", engine_pid=_start_recorder(environment))
        return
    if isinstance(runner, MasterRunner):
        WorkerRoom(environment)
    collector = Collector(environment)
    if environment.web_ui is not None:
        web.install(environment, environment.web_ui, collector)
    details: dict[str, Any] = {}
    if isinstance(runner, MasterRunner):
        role, details["master_port"] = "master", runner.server.port
    else:
        role, details["engine_pid"] = "local", _start_recorder(environment)
    gevent.spawn(_announce_when_bound, environment, role, details)


def _set_up(user_classes: Iterable[type]) -> None:
    for user_class in user_classes:
        if issubclass(user_class, OpenModelUser):
            user_class.setup()


def _start_recorder(environment: Any) -> int:
    """The engine's process id, once it is loaded."""
    recorder = Recorder(environment)
    recorder.engine.wait_until_loaded()
    return recorder.engine.pid


def _announce_when_bound(environment: Any, role: str, details: dict[str, Any]) -> None:
    web_ui = environment.web_ui
    announce(role, web_port=None if web_ui is None else bound_port(web_ui), **details)
