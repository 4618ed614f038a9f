"""What `serve` says on standard output when it is ready: to people, or to programs as one line of JSON."""

import json
import os
import sys
from typing import Any

import click

from kling_mock import __version__


def announce(app: Any, settings: Any, proxy: int | None) -> None:
    """Say to people where the fake is."""
    click.echo(f"kling-mock {__version__} listening on {settings.own_origin}")
    if settings.secure:
        from kling_common.authority import Authority

        click.echo(f"  trust: {Authority().ca_file}")
    if proxy is not None:
        click.echo(f"  proxy: http://127.0.0.1:{proxy} for {', '.join(_names(app, settings))}")
    keys = "any that begins with sk-" if settings.keys is None else str(len(settings.keys))
    click.echo(f"  keys: {keys}; clock: {settings.clock}; seed: {settings.seed}; control: /__mock/")
    sys.stdout.flush()


def announce_json(app: Any, settings: Any, proxy: int | None) -> None:
    """Say to programs where the fake is."""
    ready: dict[str, Any] = {"url": settings.own_origin, "port": settings.port, "pid": os.getpid()}
    if proxy is not None:
        ready |= {"proxy": f"127.0.0.1:{proxy}", "names": _names(app, settings)}
    click.echo(json.dumps(ready))
    sys.stdout.flush()


def _names(app: Any, settings: Any) -> tuple[str, ...]:
    """The host names that the proxy leads to the fake."""
    from kling_mock.web.access import impersonated

    return impersonated(settings, app.extensions["kling-mock"].world.contract.document)
