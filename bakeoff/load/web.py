"""The guard before Locust's web UI, and the one route that bakeoff adds to it.

Locust's page has no protection of its own: any web page in the user's browser could start a test
against any address. The guard refuses what does not come from the page itself or, with the run's
token, from the harness.
"""

import hmac
import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

from flask import Response, jsonify, request
from werkzeug.datastructures import ImmutableMultiDict

from bakeoff.errors import UsageError
from bakeoff.load.collector import Collector
from bakeoff.load.settings import host_of, parse_settings, targets
from bakeoff.measure.phase import encode_measurement

HOSTS_VARIABLE = "BAKEOFF_ALLOWED_HOSTS"
TOKEN_VARIABLE = "BAKEOFF_RUN_TOKEN"
TOKEN_HEADER = "X-Bakeoff-Run"
ROUTE = "/bakeoff/measurements"

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CHANGING = ("/swarm", "/stop", "/stats/reset", "/user")
_READING = ("GET", "HEAD", "OPTIONS")
# What a page of another origin can send without asking first is form-encoded or text/plain; the
# first carries its Origin, the second nobody needs.
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "application/json")


def install(environment: Any, web_ui: Any, collector: Collector) -> None:
    """Puts guard and route on Locust's Flask app."""
    base = (environment.parsed_options.web_base_path or "").rstrip("/")
    guard = _Guard(environment, web_ui, collector, base)
    web_ui.app.before_request(guard.check)
    # First in the list is last to run: after flask_cors has added its headers.
    web_ui.app.after_request_funcs.setdefault(None, []).insert(0, _forbid_sharing)
    _suggest(environment)

    def measurements() -> Response:
        if request.args.get("summary"):
            return jsonify(collector.summary())
        measurement = collector.measurement()
        if measurement is None:
            return Response("no test has run yet", 404, mimetype="text/plain")
        return Response(encode_measurement(measurement), mimetype="application/json")

    view = web_ui.auth_required_if_enabled(measurements)
    web_ui.app.add_url_rule(base + ROUTE, view_func=view)


class _Guard:
    def __init__(self, environment: Any, web_ui: Any, collector: Collector, base: str) -> None:
        self._environment = environment
        self._web_ui = web_ui
        self._collector = collector
        self._base = base
        self._token = os.environ.get(TOKEN_VARIABLE, "")
        self._names = [
            name.strip().lower()
            for name in os.environ.get(HOSTS_VARIABLE, "").split(",")
            if name.strip()
        ]

    def check(self) -> Response | None:
        """Flask: None lets the request through."""
        host = request.headers.get("Host", "").lower()
        if not self._is_ours(host):
            return _refused(
                f"Host {host!r} is not one of this server's names; others are named in "
                f"{HOSTS_VARIABLE}"
            )
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host:
            return _refused(f"requests from {origin!r} are not taken")
        path = request.path.removeprefix(self._base)
        if request.method in _READING:
            return _refused("use POST") if path in _CHANGING else None
        return self._check_change(path, origin)

    def _check_change(self, path: str, origin: str | None) -> Response | None:
        kind = request.mimetype
        if kind not in _FORMS and (kind or request.content_length):
            return _refused(f"content of type {kind!r} is not taken")
        if self._token and origin is None:
            given = request.headers.get(TOKEN_HEADER, "")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                return _refused(f"the header {TOKEN_HEADER} is missing or wrong")
        return self._check_swarm() if path == "/swarm" else None

    def _check_swarm(self) -> Response | None:
        """What Locust would start in spite of: answered in Locust's own form."""
        form = dict(request.form.lists())
        known = targets()
        chosen = known.get(request.form.get("target", ""))
        if chosen:
            form["host"] = [chosen]
            request.form = ImmutableMultiDict(form)
        host = (request.form.get("host") or host_of(self._environment)).rstrip("/")
        if known and host not in known.values():
            return _refused(f"{host!r} is not one of the services that may be aimed at")
        try:
            options = vars(self._environment.parsed_options)
            parse_settings({**options, **{name: values[-1] for name, values in form.items()}})
        except UsageError as error:
            return _not_started(str(error))
        if self._web_ui.template_args.get("hide_common_options"):
            return None
        refusal = self._collector.refusal()
        return None if refusal is None else _not_started(refusal)

    def _is_ours(self, host: str) -> bool:
        name, port = _split(host)
        if host in self._names:
            return True
        if port is not None and port != self._web_ui.server.server_port:
            return False
        if name in self._names or name in _LOOPBACK:
            return True
        bound = self._web_ui.host
        if bound in ("", "0.0.0.0", "::"):
            # Open to the network on purpose; an address, unlike a name, cannot be rebound.
            return _is_address(name)
        return bool(name == bound.lower())


def _suggest(environment: Any) -> None:
    """Values for the page's empty fields."""
    options = environment.parsed_options
    known = targets()
    if known and not host_of(environment):
        environment.host = next(iter(known.values()))
    if options.num_users is None:
        options.num_users = 64
    if options.spawn_rate is None:
        options.spawn_rate = 1000


def _forbid_sharing(response: Response) -> Response:
    response.headers.pop("Access-Control-Allow-Origin", None)
    return response


def _refused(reason: str) -> Response:
    return Response(f"refused: {reason}\n", 403, mimetype="text/plain")


def _not_started(reason: str) -> Response:
    return jsonify({"success": False, "message": reason, "host": None})


def _split(host: str) -> tuple[str, int | None]:
    """Name and port of a Host header."""
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname or "", parts.port
    except ValueError:
        return "", None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
