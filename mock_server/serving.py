"""Runs the edge in this process until it is told to stop."""

import asyncio
import contextlib
import logging
import signal
import socket
from typing import Any

from flask import Flask

from mock_server.config import BadSetting, Settings


def free_port(host: str) -> int:
    """A port on *host* that nobody listens on now.

    Raises:
        BadSetting: *host* is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise BadSetting(f"--host {host}: {error.strerror}") from error
        return int(probe.getsockname()[1])


def check_port(host: str, port: int) -> None:
    """Raise BadSetting where *port* is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = "somebody listens there already" if error.errno == 98 else error.strerror
            raise BadSetting(f"--port {port}: {reason}; --port 0 takes a free one") from error


def run(app: Flask, settings: Settings, ready: Any) -> None:
    """Serve *app* until SIGINT or SIGTERM; calls *ready* once connections are taken."""
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    from mock_server.web.edge import Edge

    logging.getLogger("_granian").setLevel(logging.ERROR)
    courier = app.extensions["kling-mock"].courier
    server = Server(
        Edge(app),
        settings.host,
        settings.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        backlog=1024,
        ssl_cert=settings.tls_certificate,
        ssl_key=settings.tls_key,
    )

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        serving = loop.create_task(server.serve())
        await _listening(settings)
        ready()
        await serving

    courier.start()
    try:
        asyncio.run(serve())
    finally:
        courier.stop()


async def _listening(settings: Settings) -> None:
    """Return as soon as the port takes connections."""
    for _ in range(500):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(settings.host, settings.port)
            writer.close()
            return
        await asyncio.sleep(0.005)
