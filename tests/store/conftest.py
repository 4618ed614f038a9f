"""What the tests of stores share: a PostgreSQL of their own, and fakes in this process that open one store or another."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import kling_openapi
from kling_mock import app as app_module
from kling_mock.app import create_app
from kling_mock.web.parts import Fake

sys.path.insert(0, str(Path(__file__).parent))

from cluster import Cluster

KEY = "sk-test"
MODEL = "kling-v3-turbo-image-to-video"
IMAGE = "https://image.test/640x480.png"
HOOK = "https://8.8.8.8/hook"
START = 1_757_169_743.0


@dataclass(frozen=True)
class Outcome:
    """How a receiver responded."""

    kind: str = "2xx"
    status: int | None = 204
    detail: str = ""
    seconds: float = 0.0


@dataclass
class Receiver:
    """Takes callbacks in memory: responds with the statuses of its script, then with 204."""

    script: list[int] = field(default_factory=list)
    calls: list[tuple[str, bytes]] = field(default_factory=list)
    meanwhile: Callable[[], None] | None = None

    def post(
        self, url: str, body: bytes, headers: Any, timeout: float, relay: Any = None, names: Any = None
    ) -> Outcome:
        """Take one callback."""
        self.calls.append((url, body))
        if self.meanwhile is not None:
            self.meanwhile()
        status = self.script.pop(0) if self.script else 204
        return Outcome("2xx" if status < 300 else "status", status)


class Process:
    """A fake, as another process would open the same store."""

    def __init__(self, store: str, **settings: Any) -> None:
        self.receiver = settings.pop("receiver", None) or Receiver()
        chosen = {"clock": "manual", "start": START, "seed": 7, "store": store, **settings}
        self.app = create_app(sender=self.receiver, **chosen)
        self.fake: Fake = self.app.extensions["kling-mock"]

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = KEY, **headers: str) -> Any:
        """Return the status and the decoded body of one call."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {} if key is None else {"Authorization": f"Bearer {key}"}
        response = self.app.test_client().open(path, method=method, json=body, headers=sent)
        return response.status_code, response.get_json(silent=True)

    def create(
        self, scenario: str = "completed queued=2 runs=10", *, key: str = KEY, again: str = "", **body: Any
    ) -> Any:
        """Return the status and the body of a create."""
        headers = ({"X_Mock_Scenario": scenario} if scenario else {}) | ({"Idempotency_Key": again} if again else {})
        whole = {"model": MODEL, "image_start": IMAGE, **body}
        return self.call("POST", "/v1/videos/generations", whole, key=key, **headers)

    def control(self, method: str, path: str, body: Any = None, *, key: str | None = KEY) -> Any:
        """Return the body of a control call that succeeds."""
        status, shown = self.call(method, f"/__mock{path}", body, key=key)
        assert status == 200, shown
        return shown

    def advance(self, seconds: float, *, key: str | None = KEY) -> Any:
        """Move the clock; return what fired."""
        return self.control("POST", "/clock/advance", {"seconds": seconds}, key=key)["fired"]

    def close(self) -> None:
        """End without a trace, as a process does."""
        self.fake.courier.stop()
        self.fake.world.store.close()


_compiled = cache(app_module.Contract)
_read = cache(kling_openapi.read)


@pytest.fixture(scope="session", autouse=True)
def compile_once() -> Iterator[None]:
    """Read and compile the contract once for all the fakes of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app_module, "Contract", _compiled)
        patch.setattr(kling_openapi, "read", _read)
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that ends with the tests."""
    with Cluster() as running:
        yield running


@pytest.fixture(scope="session")
def new_url(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """`new_url("sqlite")`: the URL of a new, empty store of this kind."""
    numbers = count(1)

    def url(kind: str) -> str:
        if kind == "memory":
            return kind
        if kind == "sqlite":
            return f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/{next(numbers)}.db"
        running: Cluster = request.getfixturevalue("cluster")
        return running.database()

    return url


SHARED = ["sqlite", pytest.param("postgresql", marks=pytest.mark.e2e)]


@pytest.fixture(params=SHARED)
def url(request: pytest.FixtureRequest, new_url: Callable[[str], str]) -> str:
    """A new store that processes share, once for each kind."""
    return new_url(request.param)


@pytest.fixture(params=["memory", *SHARED])
def any_url(request: pytest.FixtureRequest, new_url: Callable[[str], str]) -> str:
    """A new store, once for each kind."""
    return new_url(request.param)


@pytest.fixture
def process() -> Iterator[Callable[..., Process]]:
    """`process(url, ...)`: a fake on this store, closed with the test."""
    opened: list[Process] = []

    def build(store: str, **settings: Any) -> Process:
        opened.append(Process(store, **settings))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


@pytest.fixture(scope="session")
def process_class() -> type[Process]:
    """The class itself, for tests that keep one over many examples."""
    return Process
