"""`kling-mock courier`, and the workers of `kling-mock serve --workers N`."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click

from kling_common.starting import without_collector
from kling_mock.cli.options import CONTEXT, option

_EVERY = 0.5
_LAST_PORT = 65535


@click.command(context_settings=CONTEXT)
@option("--store", required=True, metavar="URL", help="The store that a `kling-mock serve` uses.")
@option(
    "--callback-ca", type=click.Path(path_type=Path), metavar="FILE", help="Certificates to trust besides the system's."
)
@option("--metrics", metavar="HOST:PORT", help="Serve this courier's counts for Prometheus there; by default nowhere.")
@click.option("--stop-with-stdin", is_flag=True, help="Stop when standard input ends.")
def courier(store: str, callback_ca: Path | None, metrics: str | None, stop_with_stdin: bool) -> None:
    """Send the callbacks of a fake that shares its store: any number of couriers, on any machine.

    Contract, scenarios and settings are those that `serve` wrote into the store when it started.
    """
    from kling_mock.app import build
    from kling_mock.store.interface import StoreDown

    stopped = _until_stopped(stop_with_stdin)
    try:
        settings = _settings_in(store, stopped, callback_ca)
        if settings is None:
            return
        fake = build(settings)
    except StoreDown as error:
        raise _unusable(error) from error
    shown = _serve_metrics(fake.metrics.registry(), metrics) if metrics else ""
    fake.courier.start()
    click.echo(f"kling-mock courier for {_shown(store)}{shown}")
    sys.stdout.flush()
    stopped.wait()
    fake.courier.stop()
    fake.world.store.close()


def _serve_metrics(registry: Any, place: str) -> str:
    """Serve the counts of this process until it ends; return where, as its first line shows it.

    Raises:
        BadSetting: *place* cannot be listened on.
    """
    from prometheus_client import start_http_server

    from kling_mock.config import BadSetting

    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _LAST_PORT:
        raise BadSetting(f"--metrics {place}: not HOST:PORT, such as 127.0.0.1:9100")
    try:
        server, _ = start_http_server(int(port), host.strip("[]"), registry)
    except OSError as error:
        raise BadSetting(f"--metrics {place}: {error.strerror}") from error
    return f", metrics at http://{host}:{server.server_port}/metrics"


def _until_stopped(stop_with_stdin: bool) -> threading.Event:
    """Return what is set when this process is asked to end."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    if stop_with_stdin:

        def follow() -> None:
            while os.read(sys.stdin.fileno(), 4096):
                pass
            stopped.set()

        threading.Thread(target=follow, daemon=True).start()
    return stopped


def _settings_in(store: str, stopped: threading.Event, callback_ca: Path | None) -> Any:
    """Return the settings of the `serve` on this store, waiting for one; None where this process is stopped first.

    Raises:
        BadSetting: the store cannot be used, or not for this.
    """
    from kling_mock.config import BadSetting, settings
    from kling_mock.store.interface import StoreUnusable
    from kling_mock.store.sql.database import Database
    from kling_mock.store.sql.store import settings_of

    if store == "memory":
        raise BadSetting("--store memory: a courier needs a store that processes share, such as postgresql://...")
    try:
        database = Database(store)
    except StoreUnusable as error:
        raise BadSetting(str(error)) from error
    waiting = False
    while (written := settings_of(database)) is None:
        if not waiting:
            click.echo("waiting for a kling-mock serve on this store", err=True)
        waiting = True
        if stopped.wait(_EVERY):
            return None
    database.close()
    own = {"store": store, **({"callback_ca": callback_ca} if callback_ca else {})}
    return settings(**{**json.loads(written), **own})


def _unusable(error: Exception) -> Exception:
    from kling_mock.config import BadSetting

    return BadSetting(str(error))


def _shown(store: str) -> str:
    from kling_mock.store.sql.database import parsed

    return parsed(store).render_as_string(hide_password=True).replace("+psycopg", "").replace("+pysqlite", "")


@click.command(hidden=True)
@click.option("--quiet", is_flag=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("--metrics", type=click.Path(path_type=Path), help="Folder in which all workers count.")
def worker(quiet: bool, as_json: bool, metrics: Path | None) -> None:
    """Serve with the settings on the first line of standard input, until that ends: one process of `serve --workers N`."""
    from contextlib import ExitStack

    with without_collector():
        from kling_mock.app import build
        from kling_mock.cli.main import lines_of
        from kling_mock.config import Settings
        from kling_mock.serving.server import run
        from kling_mock.serving.workers import READY

    line = b""
    while not line.endswith(b"\n"):
        read = os.read(sys.stdin.fileno(), 1)
        if not read:
            return
        line += read
    settings = Settings(**json.loads(line))
    fake = build(settings)
    if metrics is not None:
        fake.metrics.share(metrics)

    def ready(_: int | None) -> None:
        click.echo(READY)
        sys.stdout.flush()

    with ExitStack() as held:
        if not quiet:
            held.enter_context(lines_of(fake, as_json))
        run(fake, settings, ready, stop_with_stdin=True)


def serve_workers(settings: Any, options: tuple[str, ...], ready: Any, *, stop_with_stdin: bool) -> None:
    """Serve from `settings.workers` processes.

    Raises:
        BadSetting: they do not start.
    """
    import asyncio  # half of what --help would take

    from kling_mock.serving.workers import Supervisor

    asyncio.run(Supervisor(settings, options).run(ready, stop_with_stdin=stop_with_stdin))
