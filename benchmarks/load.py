"""Loads: timed ones with wrk, and counted ones over plain keep-alive connections."""

import json
import os
import resource
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from processes import Watched, all_cores, busy

SCRIPT = Path(__file__).with_name("wrk.lua")
KEY = "sk-benchmark"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
CREATE = "/v1/videos/generations"
QUERY = "/v1/tasks/"
IMAGE = "https://image.test/1280x720.jpg"  # drawn by the fake itself, so no load ever waits for a network
CONNECTIONS = 16


class LoadError(RuntimeError):
    """A load could not be run, or a server refused what it must accept."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the server and the client run; None for no pinning."""

    server: set[int] | None
    client: set[int] | None


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what is sent, and what differs from call to call."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    numbered: str | None = None
    """A header whose value ends with the number of the call."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed load: speed, latency, bad answers, and how much of a core others took meanwhile."""

    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int
    disturbed: float
    server_cores: float


def load_of(method: str, path: str, body: Mapping[str, Any]) -> Call:
    """Return the call of *path*, with *body* where it is a POST."""
    return Call(method, path, json.dumps(body).encode() if method == "POST" else b"")


def request_body(contract: Mapping[str, Any]) -> dict[str, Any]:
    """The body of peers.md: every scalar field that the contract gives a default or a single value, and an image."""
    properties = request_schema(contract)["properties"]
    body = {"model": only_value(properties["model"]), "image_start": IMAGE, "prompt": "A slow pan over the bay"}
    return body | {name: properties[name]["default"] for name in ("quality", "duration")}


def only_value(schema: Mapping[str, Any]) -> Any:
    """The one value that a ``const`` or a one-member ``enum`` allows."""
    return schema["const"] if "const" in schema else schema["enum"][0]


def request_schema(contract: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the create's body with its local references filled in and `x-` extensions left out."""
    media = resolve(contract["paths"][CREATE]["post"]["requestBody"], contract)["content"]["application/json"]
    schema: dict[str, Any] = resolve(media["schema"], contract)
    return schema


def resolve(node: Any, document: Mapping[str, Any]) -> Any:
    """*node* with every ``$ref: '#/...'`` replaced by what it names; the create's body has no cycles."""
    if isinstance(node, list):
        return [resolve(item, document) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        return resolve(target, document)
    return {key: resolve(value, document) for key, value in node.items() if not key.startswith("x-")}


def timed(server: Watched, base: str, it: Call, seconds: float, cores: Cores) -> Sample:
    """Load *base* with a call for *seconds* (whole ones; wrk knows no others): 1 thread, 16 keep-alive connections.

    Raises:
        LoadError: wrk is missing, or gave no result.
    """
    watched = (cores.server or set()) | (cores.client or set()) or all_cores()
    before, began = (busy(watched), server.cpu(), client_cpu()), perf_counter()
    result = wrk(base, it, seconds, cores)
    spent = busy(watched) - before[0]
    served, loading = server.cpu() - before[1], client_cpu() - before[2]
    elapsed, whole = result["seconds"], perf_counter() - began
    return Sample(
        per_second=result["requests"] / elapsed,
        p50_ms=result["p50_ms"],
        p99_ms=result["p99_ms"],
        failed=result["failed"],
        disturbed=max(0.0, spent - served - loading) / whole,
        server_cores=served / elapsed,
    )


def wrk(base: str, it: Call, seconds: float, cores: Cores) -> dict[str, Any]:
    """Run wrk once and read the line that ``wrk.lua`` prints."""
    pin = ["taskset", "-c", ",".join(map(str, sorted(cores.client)))] if cores.client else []
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(SCRIPT)]
    more = "\n".join(f"{name}: {value}" for name, value in it.headers.items())
    settings = {"METHOD": it.method, "BODY": it.body.decode(), "KEY": KEY, "MORE": more, "NUMBERED": it.numbered or ""}
    try:
        run = subprocess.run(
            [*pin, "wrk", *options, base + it.path],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=seconds + 30,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise LoadError(f"wrk: {error}; `benchmarks/setup` installs it") from error
    _, found, line = run.stdout.partition("\nRESULT ")
    if run.returncode or not found:
        raise LoadError(f"wrk ended with {run.returncode}: {(run.stderr or run.stdout)[-500:]}")
    result: dict[str, Any] = json.loads(line)
    return result


def client_cpu() -> float:
    """CPU seconds of this process and of the children that it has waited for, which is every wrk so far."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def connect(base: str, timeout: float = 60.0) -> HTTPConnection:
    """A keep-alive connection to *base*; *timeout* in seconds for each read."""
    where = urlsplit(base)
    if where.hostname is None:
        raise LoadError(f"{base}: not a URL")
    return HTTPConnection(where.hostname, where.port, timeout=timeout)


def call(connection: HTTPConnection, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """One JSON call with the benchmark's key.

    Raises:
        LoadError: any answer but a 200.
    """
    connection.request(method, path, None if body is None else json.dumps(body).encode(), HEADERS)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise LoadError(f"{method} {path}: {answer.status} {content[:300]!r}")
    return json.loads(content)


def create_tasks(base: str, body: Mapping[str, Any], count: int) -> str:
    """Create exactly *count* tasks over keep-alive connections; the id of one of them.

    Raises:
        LoadError: a create is refused.
    """
    threads = min(4, count)
    shares = [count // threads + (at < count % threads) for at in range(threads)]

    def some(share: int) -> str:
        connection = connect(base)
        try:
            ids = [call(connection, "POST", CREATE, body)["id"] for _ in range(share)]
        finally:
            connection.close()
        return str(ids[0])

    with ThreadPoolExecutor(threads) as pool:
        return next(iter(list(pool.map(some, shares))))
