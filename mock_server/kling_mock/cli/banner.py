"""What `serve` says on standard output when it is ready: to people, or to programs as one line of JSON."""

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import click

from kling_mock import __version__

_PASSWORD = re.compile(r"://([^/:@]*):[^/@]*@")


def announce(fake: Any, settings: Any, proxy: int | None) -> None:
    """Say to people where the fake is and how it was started."""
    click.echo(f"kling-mock {__version__} listening on {settings.own_origin}")
    for name, value in _facts(fake, settings, proxy):
        click.echo(f"  {name + ':':<11}{value}")
    sys.stdout.flush()


def _facts(fake: Any, settings: Any, proxy: int | None) -> Iterator[tuple[str, str]]:
    """What a user asks first: where to look, who may call, what a task will go through."""
    yield "page", f"{settings.own_origin}/__mock/"
    yield "keys", "any that begins with sk-" if settings.keys is None else f"{len(settings.keys)} listed"
    if settings.models is not None:
        yield "models", ", ".join(settings.models)
    yield "clock", f"{settings.clock}; seed {settings.seed}"
    yield "scenario", settings.scenario
    relays = ", ".join(f"{source} -> {target}" for source, target in settings.relays.items())
    yield "callbacks", settings.callbacks + (f"; relayed: {relays}" if relays else "")
    yield "images", settings.images
    workers = f"; {settings.workers} workers" if settings.workers > 1 else ""
    yield "store", _PASSWORD.sub("://\\1:***@", settings.store) + workers
    if settings.secure:
        from kling_common.authority import Authority

        yield "trust", str(Authority().ca_file)
    if proxy is not None:
        yield "proxy", f"http://127.0.0.1:{proxy} for {', '.join(_names(fake, settings))}"


def announce_json(fake: Any, settings: Any, proxy: int | None) -> None:
    """Say to programs where the fake is."""
    ready: dict[str, Any] = {"url": settings.own_origin, "port": settings.port, "pid": os.getpid()}
    if proxy is not None:
        ready |= {"proxy": f"127.0.0.1:{proxy}", "names": _names(fake, settings)}
    click.echo(json.dumps(ready))
    sys.stdout.flush()


def _names(fake: Any, settings: Any) -> tuple[str, ...]:
    """The host names that the proxy leads to the fake."""
    from kling_mock.web.access import impersonated

    return impersonated(settings, fake.world.contract.document)
