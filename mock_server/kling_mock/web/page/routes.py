"""The page's routes, as a Flask blueprint. Each action is a control call or a create, made as a program would make it."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Blueprint, Response, abort, redirect, render_template, request, send_from_directory
from werkzeug.datastructures import Headers

from kling_mock import __version__
from kling_mock import clock as clocks
from kling_mock.core.notation import parse_choice
from kling_mock.store.journal import as_json
from kling_mock.web.http import ApiResponse, Request
from kling_mock.web.page import form, words
from kling_mock.web.page.docs import graded
from kling_mock.web.page.events import EVERY, PATH, TOKEN_COOKIE, Watch, admitted
from kling_mock.web.page.facts import ENTRIES_SHOWN, TASKS_SHOWN, Facts, Filter, callback_state
from kling_mock.web.page.story import moments
from kling_mock.web.parts import Fake
from kling_openapi.bundle import bundle

_LATEST = 12
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_POLICY_OF_DOCS = _POLICY.replace(
    "style-src 'self'", "style-src 'self' 'unsafe-inline'"
)  # the viewer styles its own elements
_KINDS = ("exchange", "attempt", "download", "clock", "refused")
View = Callable[..., Response]


class Page:
    """Renders the page of one fake."""

    def __init__(self, fake: Fake) -> None:
        self.fake, self.facts = fake, Facts(fake)
        self.fields = form.fields(fake.world.contract.document)
        self.static = str(files("kling_mock.web.page") / "static")

    # Who may

    def asked(self) -> Request:
        """The browser's request as the control protocol takes it; a token from the cookie counts as sent."""
        headers = Headers(list(request.headers.items()))
        headers.remove("authorization")
        if TOKEN_COOKIE in request.cookies:
            headers.setdefault("x-mock-token", request.cookies[TOKEN_COOKIE])
        return Request(request.method, "/__mock/info", "", headers, b"", request.remote_addr or "127.0.0.1")

    def refusal(self) -> Response | None:
        """What a browser sees that may not steer this fake; None for one that may."""
        api_response = admitted(self.fake, self.asked(), page=True)
        return (
            None
            if api_response is None
            else self.page("login.html", status=api_response.status, said=message(api_response))
        )

    def control(self, operation: str, body: Any = None, **path: str) -> ApiResponse:
        """One control call, on all accounts."""
        made = self.asked()
        made.body = b"" if body is None else orjson.dumps(body)
        return self.fake.control.call(operation, made, **path)

    # Rendering

    def page(self, template: str, *, status: int = 200, **more: Any) -> Response:
        """A template as a response that no other site can frame, script or style."""
        shown = {"facts": self.facts, "version": __version__, "words": words, "callback_state": callback_state, **more}
        response = Response(render_template(template, **shown), status)
        response.headers["Content-Security-Policy"] = _POLICY_OF_DOCS if template == "docs.html" else _POLICY
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    def home(self, status: int = 200, **more: Any) -> Response:
        """The page."""
        shown = {"scenarios": self.scenarios(), "fields": self.fields, "given": {}, **self.live()}
        return self.page("home.html", status=status, **{**shown, **more})

    def live(self) -> dict[str, Any]:
        """What changes by itself."""
        return {
            "clock": self.fake.world.store.clock.reading(),
            "rows": self.facts.rows(),
            "count": self.facts.count(),
            "most": TASKS_SHOWN,
            "accounts": self.facts.accounts(),
            "entries": self.facts.entries(Filter(), _LATEST),
            "queue": self.facts.queue(),
        }

    def scenarios(self) -> list[Any]:
        """The catalogue, by name."""
        return sorted(self.fake.world.catalogue.scenarios.values(), key=lambda one: one.name)

    def done(self, said: str, api_response: ApiResponse, back: Callable[..., Response] | None = None) -> Response:
        """What an action says: a line for the page that htmx shows in place, else the page with that line."""
        good = api_response.status < 400
        said = said if good else message(api_response)
        if request.headers.get("hx-request") == "true":
            response = self.page("_said.html", status=api_response.status, said=said, good=good)
            response.headers["HX-Trigger"] = "changed"
            return response
        return (back or self.home)(status=api_response.status, said=said, good=good)

    # One task, the journal

    def task(self, task_id: str, template: str = "task.html", **more: Any) -> Response:
        """One task with its story; a line that says so once it is gone."""
        found = self.facts.find(task_id)
        if found is None:
            return self.page("gone.html" if template == "task.html" else "_gone.html", status=404, task_id=task_id)
        account, task = found
        row = self.facts.row(account, task)
        owed = list(self.fake.world.store.deliveries(account, task.id))
        told = moments(task, row.now, row.link, owed, self.facts.of_task(task_id), self.fake.world.contract.delivery)
        callback = self.fake.world.journal.mask.callback(task.callback_url or "")  # pages end up in screenshots
        return self.page(template, row=row, task=task, callback=callback, moments=told, owed=owed, **more)

    def journal(self, template: str = "journal.html") -> Response:
        """The journal's newest entries that the filter takes."""
        given = request.args
        before = given.get("before", "")
        wanted = Filter(
            kind=given.get("kind", ""),
            status=given.get("status", ""),
            task_id=given.get("task", "").strip(),
            account=given.get("account", ""),
            text=given.get("text", "").strip(),
            before=int(before) if before.isdecimal() and len(before) < 19 else 0,
        )
        found = self.facts.entries(wanted, ENTRIES_SHOWN + 1)
        entries, more = found[:ENTRIES_SHOWN], len(found) > ENTRIES_SHOWN
        kept = {name: value for name, value in given.items() if name != "before" and value}
        older = urlencode({**kept, "before": str(entries[-1].seq)}) if more else ""
        return self.page(template, entries=entries, wanted=wanted, kinds=_KINDS, older=older, kept=urlencode(kept))

    def entry(self, seq: int) -> Response:
        """One journal entry: both messages in full, and the request as a curl command."""
        found = self.facts.entry(seq)
        if found is None or found.seq != seq:
            return self.page("gone.html", status=404, task_id=None)
        command = words.curl(found, request.host_url.rstrip("/")) if found.method else ""
        return self.page("entry.html", entry=found, shown=as_json(found), command=command)

    # Actions

    def advance(self, seconds: int) -> Response:
        """Move the clock forward; everything due on the way happens first."""
        api_response = self.control("advanceClock", {"seconds": seconds})
        happened = len(orjson.loads(api_response.body)["fired"]) if api_response.status == 200 else 0
        return self.done(
            f"Advanced {words.span(seconds)}: {happened} event{'' if happened == 1 else 's'}", api_response
        )

    def set_clock(self) -> Response:
        """Freeze it, let it run, or let it run faster."""
        asked = request.form
        rate = asked.get("rate", 1.0, type=float)
        mode = {"freeze": "manual", "resume": "real"}.get(asked.get("do", ""), "scaled")
        api_response = self.control("setClock", {"mode": mode} if mode != "scaled" else {"mode": mode, "rate": rate})
        said = {"manual": "Clock frozen", "real": "Clock running"}.get(mode, f"Clock running at x{rate:g}")
        return self.done(said, api_response)

    def queue(self) -> Response:
        """Queue a scenario for the next creates."""
        name, times = request.form.get("name", ""), request.form.get("times", 1, type=int)
        try:
            name, params = parse_choice(f"{name} {request.form.get('params', '')}".strip())
        except ValueError as error:
            return self.done("", refused(f"{error}; write parameters as name=value, separated by spaces"))
        return self.done(
            f"The next create follows {name}",
            self.control("queueScenario", {"name": name, "params": params, "times": times}),
        )

    def create(self) -> Response:
        """Make a task, through the same call that every client makes."""
        if (no := self.refusal()) is not None:
            return no
        given = request.form
        headers = self.asked().headers
        assert isinstance(headers, Headers)
        for name in ("content-type", "content-length", "idempotency-key", "x-mock-scenario"):
            headers.remove(name)
        headers["authorization"] = f"Bearer {given.get('key', '').strip()}"
        headers["content-type"] = "application/json"
        operation = self.fake.world.contract.operations["createVideo"]
        body = orjson.dumps(form.body(self.fields, given))
        made = Request(operation.method, operation.path, "", headers, body, request.remote_addr or "127.0.0.1")
        api_response = self.fake.api.call("createVideo", made)
        for future in api_response.after:
            future.result()
        task = orjson.loads(api_response.body).get("id") if api_response.status == 200 else None
        return self.done(f"Created {task}", api_response, partial(self.home, given=given))


def message(api_response: ApiResponse) -> str:
    """The sentence of an error."""
    try:
        error = orjson.loads(api_response.body)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"The fake responded with {api_response.status}, as the scenario asks"
    return str(error["message"])


def refused(said: str) -> ApiResponse:
    """A refusal of the page's own."""
    return ApiResponse(400, orjson.dumps({"error": {"message": said}}))


def blueprint(fake: Fake) -> Blueprint:
    """The routes of the page over *fake*."""
    page = Page(fake)
    routes = Blueprint("page", __name__, template_folder="templates")

    def add(rule: str, name: str, view: Callable[..., Any], method: str = "GET") -> None:
        def guarded(**path: Any) -> Any:
            return page.refusal() or view(**path)

        routes.add_url_rule(rule, name, guarded, methods=[method], provide_automatic_options=False)

    def home() -> Any:
        """The page for a browser; a program gets what it gets on any unknown path, whatever it may steer."""
        return (page.refusal() or page.home()) if is_browser(page.asked()) else abort(404)

    routes.add_url_rule("/__mock/", "home", home, methods=["GET"], provide_automatic_options=False)
    routes.add_url_rule("/__mock", "bare", lambda: abort(404), methods=["GET"])
    add(PATH, "events", lambda: Response(_events(page), content_type="text/event-stream"))
    add("/__mock/page/tasks/<task_id>", "task", page.task)
    add("/__mock/page/tasks/<task_id>/story", "story", partial(page.task, template="_story.html"))
    add("/__mock/page/journal", "journal", page.journal)
    add("/__mock/page/journal/<int:seq>", "entry", page.entry)
    for fragment in ("clock", "tasks", "accounts", "latest", "queue"):
        add(f"/__mock/page/{fragment}", fragment, partial(_fragment, page, fragment))
    add("/__mock/page/clock", "set_clock", page.set_clock, "POST")
    add("/__mock/page/clock/<int:seconds>", "advance", page.advance, "POST")
    add("/__mock/page/scenario", "scenario", page.queue, "POST")
    add("/__mock/page/reset", "reset", lambda: page.done("Everything is forgotten", page.control("reset")), "POST")
    add("/__mock/page/task", "create", page.create, "POST")
    add("/__mock/page/tasks/<task_id>/cancel", "cancel", partial(_cancel, page), "POST")
    add("/__mock/page/deliveries/<delivery_id>/resend", "resend", partial(_resend, page), "POST")
    _open_routes(routes, page)
    return routes


def _fragment(page: Page, name: str) -> Response:
    return page.page(f"_{name}.html", **page.live())


def _events(page: Page) -> Iterator[str]:
    """The events for a server that is not the edge, which sends them itself."""
    watch = Watch(page.facts)
    while True:
        yield watch.news()
        clocks.pause(EVERY)


def _cancel(page: Page, task_id: str) -> Response:
    back = partial(page.task, task_id)
    return page.done(
        f"Cancelled {task_id}", page.control("cancelTask", task_id=task_id), lambda **more: back(**_said(more))
    )


def _resend(page: Page, delivery_id: str) -> Response:
    api_response = page.control("resendDelivery", delivery_id=delivery_id)
    made = orjson.loads(api_response.body).get("attempts", []) if api_response.status == 200 else []
    return page.done(f"Sent once more: {made[-1]['outcome'] if made else ''}", api_response)


def _said(more: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in more.items() if name != "status"}


def lost(fake: Fake, status: int, path: str, said: str) -> Response:
    """A page for a browser that asked for what is not there, with the ways on."""
    return Page(fake).page("lost.html", status=status, code=status, path=path, said=said)


def is_browser(asked: Request) -> bool:
    """Whether a person is looking: a page was asked for, not JSON or anything."""
    return asked.method in ("GET", "HEAD") and "text/html" in (asked.headers.get("accept") or "")


def _open_routes(routes: Blueprint, page: Page) -> None:
    """What shows no facts: scripts and styles, the contract, the way to type a token."""

    def asset(name: str) -> Response:
        return send_from_directory(page.static, name, max_age=3600, conditional=True)

    def login() -> Response:
        response = redirect("/__mock/", 303)
        response.set_cookie(
            TOKEN_COOKIE, request.form.get("token", ""), httponly=True, samesite="Strict", path="/__mock/"
        )
        return response  # type: ignore[return-value]

    contract = page.fake.world.contract
    whole = cache(lambda: bundle(contract.family, server="/", models=contract.models))
    shown = cache(lambda: graded(bundle(contract.family, models=contract.models)))

    def served() -> Response:
        server = {"url": request.host_url.rstrip("/"), "description": "This fake."}
        return _json({**whole(), "servers": [server]})

    views: dict[str, tuple[str, View]] = {
        "asset": ("/__mock/assets/<path:name>", asset),
        "contract": ("/openapi.json", served),
        "graded": ("/__mock/docs/openapi.json", lambda: _json(shown())),
        "docs": ("/__mock/docs", lambda: page.page("docs.html")),
    }
    for name, (rule, view) in views.items():
        routes.add_url_rule(rule, name, view, methods=["GET"], provide_automatic_options=False)
    routes.add_url_rule("/__mock/page/login", "login", login, methods=["POST"], provide_automatic_options=False)


def _json(document: dict[str, Any]) -> Response:
    return Response(orjson.dumps(document), content_type="application/json")
