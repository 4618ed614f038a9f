"""Every call that needs no I/O, on the memory store: the fake, its floor, and the peers that are installed, in turn."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from calls import RELAYED, SETTINGS, every, upload
from deployments import MOCK, Serving, floor
from load import CREATE, HEADERS, QUERY, Call, LoadError, Sample, connect, load_of, timed
from processes import Server, ServerError, free_port
from speeds import FREE, Extent, Pair, sample
from targets import PEERS, TargetError

import kling_openapi

_PEERS = ("wiremock", "prism", "mountebank")
_PAGE = 20
"""Tasks that are there, so that a list has its page."""
_COMPILING = 20
"""Seconds for which a peer on a virtual machine is warmed up; all others get one."""


@dataclass(slots=True)
class Peer:
    """What a peer did of the two calls that it knows; `trouble`: why it was not measured."""

    name: str
    loads: dict[str, list[Sample]] = field(default_factory=lambda: {"create": [], "query": []})
    trouble: str = ""


def measure(body: Mapping[str, Any], extent: Extent) -> dict[str, list[dict[str, Any]]]:
    """Return what fake and floor did of each call, and what the peers did of create and query; each round visits all of them."""
    peers = [Peer(f"{name} {PEERS[name].about}") for name in _PEERS]
    pairs: dict[str, Pair] = {}
    for _ in range(extent.rounds):
        with fake() as serving:
            names = calls_of(serving, body)
        for name in names:
            pair = pairs.setdefault(name, Pair("memory", 1, name))
            try:
                _one_round(pair, body, extent)
            except (ServerError, LoadError, OSError) as error:
                pair.trouble = f"not measured: {str(error).splitlines()[-1][:200]}"
        for peer, name in zip(peers, _PEERS, strict=True):
            try:
                _peer_round(peer, name, body, extent)
            except (ServerError, LoadError, TargetError, OSError) as error:
                peer.trouble = f"not measured: {str(error).splitlines()[-1][:200]}"
    calls = [asdict(pair) | {"share": pair.share()} for pair in pairs.values()]
    return {"calls": calls, "peers": [asdict(peer) for peer in peers]}


@contextmanager
def fake() -> Iterator[Serving]:
    """A fake that takes any first frame unseen, with a relay, on the memory store."""
    port = free_port()
    options = ["--images", SETTINGS["images"], "--relay", f"{RELAYED}={SETTINGS['relays'][RELAYED]}"]
    with Server([*MOCK, "serve", "--port", str(port), "--quiet", *options]) as server:
        server.ready(port, "/__mock/ready", {})
        yield Serving(f"http://127.0.0.1:{port}", server.watched, server)


def calls_of(serving: Serving, body: Mapping[str, Any]) -> dict[str, Call]:
    file = orjson.loads(_once(serving.base, upload()))["data"]["file_url"]
    task = orjson.loads(_once(serving.base, load_of("POST", CREATE, body)))["id"]
    return every(body, file=file, task=task)


def _once(base: str, it: Call) -> bytes:
    """Make a call and return the response's body.

    Raises:
        LoadError: any response but a 200.
    """
    connection = connect(base)
    try:
        more = {it.numbered: "benchmark-the-first"} if it.numbered else {}
        connection.request(it.method, it.path, it.body or None, {**HEADERS, **it.headers, **more})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise LoadError(f"{it.method} {it.path}: {response.status} {content[:300]!r}")
    return content


def _one_round(pair: Pair, body: Mapping[str, Any], extent: Extent) -> None:
    """One sample of the fake and one of the floor, which takes the same request and returns as many bytes."""
    with fake() as serving:
        it = calls_of(serving, body)[pair.method]
        for _ in range(_PAGE):
            _once(serving.base, load_of("POST", CREATE, body))
        size = len(_once(serving.base, it))
        timed(serving.watched, serving.base, it, 1, FREE)
        pair.fake.append(sample(serving, it, extent))
    with floor("memory", it.method, {}, size) as serving:
        bare = replace(it, path="/")
        timed(serving.watched, serving.base, bare, 1, FREE)
        pair.floor.append(sample(serving, bare, extent))


def _peer_round(peer: Peer, name: str, body: Mapping[str, Any], extent: Extent) -> None:
    """One sample of each call on a peer.

    Raises:
        TargetError: it is not installed.
    """
    with TemporaryDirectory() as folder:
        port, target = free_port(), PEERS[name]
        launch = target.launch(port, Path(folder), kling_openapi.read(kling_openapi.SERVICE))
        with Server(launch.command, cwd=Path(folder)) as server:
            server.ready(port, launch.ready, launch.headers)
            serving = Serving(f"http://127.0.0.1:{port}", server.watched, server)
            made = orjson.loads(_once(serving.base, load_of("POST", CREATE, body)))["id"]
            for call, it in (("create", load_of("POST", CREATE, body)), ("query", load_of("GET", QUERY + made, body))):
                timed(serving.watched, serving.base, it, _COMPILING if target.compiled else 1, FREE)
                peer.loads[call].append(sample(serving, it, extent))
