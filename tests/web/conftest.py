"""What the tests of the web share: a fake on a manual clock, a receiver in memory, and a judge of every answer they get.

The judge holds each answer against the contract by operation and status, and each callback body against its schema. A status that
the contract does not give an operation is a failure, whichever test it happens in.
"""

import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, unquote

import jsonschema_rs
import orjson
import pytest
from flask import Flask
from werkzeug.test import TestResponse

import kling_openapi
from kling_mock import app as app_module
from kling_mock.app import create_app
from kling_mock.clock import Clock
from kling_mock.core.deliveries import Delivery
from kling_mock.core.tasks import Task
from kling_mock.store.interface import Account, Queued, StoredFile
from kling_mock.web.parts import Fake

sys.path.insert(0, str(Path(__file__).parent))

KEY = "sk-test"
MODEL = "kling-v3-turbo-image-to-video"
IMAGE = "https://image.test/640x480.png"
HOOK = "https://8.8.8.8/hook"
"""A public address, so that nothing is resolved; the receiver in memory is called in its place."""

STORED = re.compile(r"/files/[^/]+/[^/]+\.mp4|/uploads/[^/]+/[^/]+/[^/]+")
"""What is served from where files lie, in no contract: videos behind their links, and uploads."""


@cache
def _validator(which: Path, *steps: str) -> Any:
    pointer = "/".join(quote(step.replace("~", "~0").replace("/", "~1"), safe="~") for step in steps)
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"urn:contract#/{pointer}"},
        registry=jsonschema_rs.Registry([("urn:contract", kling_openapi.read(which))]),
        validate_formats=True,
    )


def check(which: Path, value: Any, *steps: str) -> None:
    """Fail where *value* breaks the schema at *steps* of the document *which*."""
    problems = [f"{list(one.instance_path)}: {one.message}" for one in _validator(which, *steps).iter_errors(value)]
    assert not problems, f"{'/'.join(steps)}: {problems} in {value!r}"


@cache
def _matchers(which: Path) -> list[tuple[re.Pattern[str], str]]:
    paths = sorted(kling_openapi.read(which)["paths"], key=lambda path: (path.count("{"), path))
    return [(re.compile(re.sub(r"\\{.*?\\}", "[^/]+", re.escape(path))), path) for path in paths]


def route(which: Path, path: str, method: str) -> str | None:
    """The path of the document that *path* is an instance of: itself, as OpenAPI says; else of several one that takes *method*."""
    found = [template for matcher, template in _matchers(which) if matcher.fullmatch(path)]
    if path in found:
        return path
    taking = [template for template in found if method in kling_openapi.read(which)["paths"][template]]
    return next(iter(taking or found), None)


class Judge:
    """Holds answers and callbacks against the contract; what it finds in other threads it keeps for the end of the test."""

    def __init__(self) -> None:
        self.service = kling_openapi.service()
        self.control = kling_openapi.read(kling_openapi.CONTROL)
        self.found: list[str] = []
        self.request_ids: set[str] = set()
        self.known: set[str] = set()
        self.answers = 0

    def answer(self, method: str, path: str, response: TestResponse) -> None:
        """One answer of any route."""
        self.answers += 1
        if path == "/__mock" or path.startswith("/__mock/"):
            self._control(method, path, response)
        elif STORED.fullmatch(path) and method in ("GET", "HEAD"):
            assert response.status_code in {200, 206, 304, 403, 404, 416}, response.status_code
        else:
            self._service(method, path, response)

    def callback(self, body: Any) -> None:
        """One callback body."""
        steps = (
            "paths",
            "/v1/videos/generations",
            "post",
            "callbacks",
            "taskFinished",
            "{$request.body#/callback_url}",
        )
        check(kling_openapi.SERVICE, body, *steps, "post", "requestBody", "content", "application/json", "schema")

    def _service(self, method: str, path: str, response: TestResponse) -> None:
        name = response.headers.get("x-request-id")
        assert name, "an answer without x-request-id"
        assert name not in self.request_ids, "a request id was given twice"
        self.request_ids.add(name)
        asked, status = "get" if method == "HEAD" else method.lower(), str(response.status_code)
        template = route(kling_openapi.SERVICE, path, asked)
        item = {} if template is None else self.service["paths"][template]
        item = {verb: operation for verb, operation in item.items() if operation["operationId"] in self.known}
        if asked in item:
            responses = item[asked]["responses"]
            assert status in responses, f"{item[asked]['operationId']} does not answer {status}: {response.data!r}"
            entry = responses[status].get("$ref", "").rpartition("/")[2]
        else:
            entry = {"404": "RouteNotFound", "405": "MethodNotAllowed", "401": "Unauthorized"}[status]
            assert (status == "405") == bool((item or STORED.fullmatch(path)) and status != "401"), (
                f"{method} {path}: {status}"
            )
        if method == "HEAD":
            assert response.data == b""
        elif entry:
            self._error(entry, response)
        else:
            steps = ("paths", str(template), asked, "responses", status, "content", "application/json", "schema")
            assert response.mimetype == "application/json"
            check(kling_openapi.SERVICE, response.json, *steps)

    def _error(self, entry: str, response: TestResponse) -> None:
        """An error answer says what its entry in the contract says, in one dialect or the other."""
        assert response.mimetype == "application/json"
        check(
            kling_openapi.SERVICE,
            response.json,
            "components",
            "responses",
            entry,
            "content",
            "application/json",
            "schema",
        )
        rule = self.service["components"]["responses"][entry]["x-error"]
        if "envelope" in rule:
            assert str(response.json["code"]).startswith(str(rule["status"]))
            return
        error = response.json["error"]
        current, legacy = (rule["code"], rule["type"]), (rule["status"], rule["legacy_type"])
        assert response.status_code == rule["status"]
        assert (error["code"], error["type"]) in (current, legacy)
        assert error["message"]
        assert error.get("fallback_suggestion") == rule.get("fallback_suggestion")

    def _control(self, method: str, path: str, response: TestResponse) -> None:
        assert response.mimetype == "application/json"
        asked, status = "get" if method == "HEAD" else method.lower(), str(response.status_code)
        template = route(kling_openapi.CONTROL, path, asked)
        item = {} if template is None else self.control["paths"][template]
        if asked not in item or asked == "parameters":
            assert status == "400", f"{method} {path}: {status}"
            steps: tuple[str, ...] = ("components", "responses", "BadControlRequest")
        else:
            responses = item[asked]["responses"]
            assert status in responses, f"{item[asked]['operationId']} does not answer {status}: {response.data!r}"
            reference = responses[status].get("$ref", "")
            steps = tuple(reference.split("/")[1:]) or ("paths", str(template), asked, "responses", status)
        if method != "HEAD":
            check(kling_openapi.CONTROL, response.json, *steps, "content", "application/json", "schema")
        if steps[1:2] == ("responses",) and method != "HEAD":
            rule = self.control["components"]["responses"][steps[2]]["x-error"]
            assert (rule["status"], rule["code"], rule["type"]) == (
                response.status_code,
                response.json["error"]["code"],
                response.json["error"]["type"],
            )


@dataclass(frozen=True)
class Outcome:
    """How a scripted receiver answered."""

    kind: str
    status: int | None = None
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Call:
    """One POST that the receiver saw."""

    url: str
    body: Any
    headers: dict[str, str]
    timeout: float
    relay: str | None


@dataclass
class Receiver:
    """Takes callbacks in memory: answers what its script says, then 204. `meanwhile` runs before it answers."""

    judge: Judge
    script: deque[int | str] = field(default_factory=deque)
    calls: list[Call] = field(default_factory=list)
    meanwhile: Callable[[Call], None] | None = None
    bent: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def post(
        self,
        url: str,
        body: bytes,
        headers: dict[str, str],
        timeout: float,
        relay: str | None = None,
        names: Any = None,
    ) -> Outcome:
        """The transport's part: never raises; what the judge finds is kept."""
        call = Call(url, orjson.loads(bytes(body)), dict(headers), timeout, relay)
        try:
            if not self.bent:
                self.judge.callback(call.body)
            if self.meanwhile is not None:
                self.meanwhile(call)
        except Exception as error:  # raised again when the test ends
            self.judge.found.append(f"{type(error).__name__}: {error}")
        with self.lock:
            self.calls.append(call)
            answer = self.script.popleft() if self.script else 204
        if isinstance(answer, str):
            return Outcome(answer, detail=f"{answer}, as the test wants it")
        return Outcome("2xx" if 200 <= answer < 300 else "status", answer)


class Facts:
    """What a store knows of one account, read anew each time."""

    def __init__(self, fake: Fake, key: str) -> None:
        self._store = fake.world.store
        self.seen: Account = self._store.seen(key)

    @property
    def now(self) -> Account:
        """The account as it stands."""
        return self._store.refresh(self.seen)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)

    @property
    def clock(self) -> Clock:
        """Its clock."""
        return self.now.clock

    @property
    def now_shown(self) -> float:
        """What its clock shows."""
        return self.clock.now()

    @property
    def tasks(self) -> dict[str, Task]:
        """Its tasks by id."""
        return {task.id: task for task in self._store.tasks(self.seen)}

    @property
    def deliveries(self) -> dict[str, Delivery]:
        """Its deliveries by id."""
        return {delivery.id: delivery for delivery in self._store.deliveries(self.seen)}

    @property
    def queued(self) -> list[Queued]:
        """The scenarios queued for it."""
        return list(self._store.queued(self.seen))

    @property
    def uploads(self) -> dict[str, StoredFile]:
        """Its files by id."""
        with self._store.begin(self.seen) as facts:
            return {stored.id: stored for stored in facts.files()}

    def remembers(self, key: str) -> bool:
        """Whether an Idempotency-Key stands for a task."""
        with self._store.begin(self.seen) as facts:
            return facts.remembered(key) is not None

    def move_to(self, moment: float) -> None:
        """Set its clock, and what shares it, forward."""
        self._store.move_clock(self.now.clock, moment)


STORE = os.environ.get("KLING_TEST_STORE", "memory")
"""memory, sqlite, or the URL of a PostgreSQL server: the store of every rig here. scripts/test-stores runs these tests on each."""


def new_store(folder: Path, number: int) -> str:
    """The option --store of a new rig: a file or a schema of its own, for rigs live side by side."""
    if STORE == "sqlite":
        return f"sqlite:///{folder}/{number}.db"
    if STORE == "memory":
        return STORE
    name = f"rig_{os.getpid()}_{number}"
    _execute(f"CREATE SCHEMA {name}")
    return f"{STORE}?options=-csearch_path%3D{name}"


def drop(store: str) -> None:
    """Drop the schema of a rig, where it has one."""
    if "search_path" in store:
        _execute(f"DROP SCHEMA {store.rpartition('%3D')[2]} CASCADE")


def _execute(statement: str) -> None:
    import psycopg

    with psycopg.connect(STORE, autocommit=True) as connection:
        connection.execute(statement)


_stores = count(1)
_folder = TemporaryDirectory(prefix="kling-test-")


class Rig:
    """A fake under test, and the calls that the tests make of it."""

    def __init__(self, **settings: Any) -> None:
        self.judge = Judge()
        self.receiver = Receiver(self.judge)
        store = self.store = new_store(Path(_folder.name), next(_stores))
        self.app: Flask = create_app(**{"clock": "manual", "store": store, "sender": self.receiver, **settings})
        self.app.testing = True  # what goes wrong inside is raised, not answered
        self.fake: Fake = self.app.extensions["kling-mock"]
        self.judge.known = set(self.fake.api.handlers)

    def call(
        self, method: str, path: str, *, key: str | None = KEY, bent: bool = False, headers: Any = (), **request: Any
    ) -> TestResponse:
        """One call; its answer is judged unless a scenario *bent* it on purpose."""
        sent = [*dict(headers).items()]
        if key is not None:
            sent.append(("Authorization", f"Bearer {key}"))
        response = self.app.test_client().open(path, method=method, headers=sent, **request)
        if not bent:
            self.judge.answer(method, unquote(path.partition("?")[0], errors="replace"), response)
        return response

    def create(self, *, key: str = KEY, headers: Any = (), bent: bool = False, **body: Any) -> TestResponse:
        """A create; what is not given is the shortest that works."""
        body = {"model": MODEL, "image_start": IMAGE, **body}
        return self.call("POST", "/v1/videos/generations", key=key, headers=headers, bent=bent, json=body)

    def task(self, scenario: str = "completed queued=2 runs=10", **body: Any) -> str:
        """The id of a new task that follows *scenario*."""
        response = self.create(headers={"X-Mock-Scenario": scenario}, **body)
        assert response.status_code == 200, response.json
        return str(response.json["id"])

    def query(self, task_id: str, **more: Any) -> TestResponse:
        """One read."""
        return self.call("GET", f"/v1/tasks/{task_id}", **more)

    def shown(self, task_id: str) -> Any:
        """The task's body, which must be there."""
        response = self.query(task_id)
        assert response.status_code == 200, response.json
        return response.json

    def control(self, method: str, path: str, body: Any = None, *, key: str | None = None, status: int = 200) -> Any:
        """The decoded answer of a control call that must answer *status*."""
        more = {} if body is None else {"json": body}
        response = self.call(method, f"/__mock{path}", key=key, **more)
        assert response.status_code == status, response.json
        return response.json

    def advance(self, seconds: float, *, key: str | None = None) -> Any:
        """Move the clock; what fired."""
        return self.control("POST", "/clock/advance", {"seconds": seconds}, key=key)["fired"]

    def now(self, key: str | None = None) -> float:
        """What the clock shows."""
        return float(self.control("GET", "/clock", key=key)["now"])

    def account(self, key: str = KEY) -> Facts:
        """The account behind *key*."""
        return Facts(self.fake, key)

    def close(self) -> None:
        """Stop, and fail for what the judge found in other threads."""
        self.fake.courier.stop()
        self.fake.world.store.close()
        drop(self.store)
        assert not self.judge.found, self.judge.found


_compiled = cache(app_module.Contract)
_read = cache(kling_openapi.read)


@pytest.fixture(scope="module", autouse=True)
def compile_once() -> Iterator[None]:
    """Read and compile the contract once for all the fakes of these tests; nobody changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app_module, "Contract", _compiled)
        patch.setattr(kling_openapi, "read", _read)
        yield


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    """`make(seed=7)`: a rig with these settings, closed with the test."""
    rigs: list[Rig] = []

    def build(**settings: Any) -> Rig:
        rigs.append(Rig(**settings))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make: Callable[..., Rig]) -> Rig:
    """A fake with the defaults, its clock in the test's hands."""
    return make()


@pytest.fixture(scope="session")
def new_rig() -> Callable[..., Rig]:
    """The class itself, for tests that keep one rig over many examples."""
    return Rig


@pytest.fixture
def stories(make: Callable[..., Rig], tmp_path: Path) -> Callable[..., Rig]:
    """`stories("name: ...", seed=7)`: a rig that also knows these scenarios."""

    def build(*texts: str, **settings: Any) -> Rig:
        (tmp_path / "stories.yaml").write_text("\n---\n".join(texts), encoding="utf-8")
        return make(scenarios=tmp_path, **settings)

    return build


@pytest.fixture(scope="session")
def validator() -> Callable[..., Any]:
    """`validator(document, *steps)`: the schema at these steps, compiled."""

    def compiled(document: dict[str, Any], *steps: str) -> Any:
        """A validator whose references lead into *document*."""
        return jsonschema_rs.Draft202012Validator(
            {"$ref": f"urn:contract#/{'/'.join(steps)}"}, registry=jsonschema_rs.Registry([("urn:contract", document)])
        )

    return compiled
