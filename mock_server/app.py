"""`create_app()`: the fake as a Flask application, usable under any WSGI server and under Flask's test client."""

from functools import partial
from typing import TYPE_CHECKING, Any

import openapi
from mock_server import clock as clocks
from mock_server.catalogue import Catalogue
from mock_server.config import Choices, Settings, settings
from mock_server.contract import Contract
from mock_server.core.callbacks import is_internal
from mock_server.courier import Courier, Sender
from mock_server.files import Files
from mock_server.frames import Frames, allowed
from mock_server.net import Transport, resolve_system
from mock_server.web.accounts import Accounts
from mock_server.web.api import Api
from mock_server.web.control import Control
from mock_server.web.files_api import FilesApi
from mock_server.web.media import Media
from mock_server.web.parts import Fake
from mock_server.world import World

if TYPE_CHECKING:
    from flask import Flask

_RESOLVES_AT_ONCE = 0.25
_READ_OF_A_RECEIVER = 64 * 1024
_USER_AGENT = "kling-mock"


def build(chosen: Settings, sender: Sender | None = None) -> Fake:
    """A fake as *chosen*; *sender* takes the place of the transport that sends callbacks.

    Raises:
        BadSetting: a setting cannot be used.
        ContractError: the contract cannot be used.
    """
    contract = Contract(chosen.contract or openapi.SERVICE)
    choices = Choices(contract, chosen.profile, chosen.choices)
    catalogue = Catalogue(contract.task_errors, contract.errors, chosen.scenarios)
    callbacks = _transport(
        chosen, lambda ip: chosen.callbacks == "local" or not is_internal(ip, contract.internal_networks)
    )
    fetcher = _transport(chosen, partial(allowed, contract, chosen))
    files = Files(contract, choices, lambda name: world.store.named(name))
    frames = Frames(contract, chosen, choices, fetcher, files)
    world = World(
        contract, chosen, choices, catalogue, frames, lambda target: callbacks.leads_inside(target, _RESOLVES_AT_ONCE)
    )
    courier = Courier(world, sender or callbacks)
    api = Api(world, courier)
    uploads = FilesApi(api, files)
    api.take(Accounts(api).handlers)
    api.take(uploads.handlers)
    return Fake(world, courier, api, Control(world, courier), Media(world), uploads)


def _transport(chosen: Settings, allow: Any) -> Transport:
    return Transport(
        resolve=resolve_system,
        monotonic=clocks.monotonic,
        allow=allow,
        ca_file=str(chosen.callback_ca) if chosen.callback_ca else None,
        max_response_bytes=_READ_OF_A_RECEIVER,
        user_agent=_USER_AGENT,
    )


def create_app(chosen: Settings | None = None, *, sender: Sender | None = None, **given: Any) -> "Flask":
    """The fake as a Flask application; settings as an object or by name: `create_app(clock="manual", seed=7)`.

    Callbacks are sent when a manual clock is advanced and, once `app.extensions["kling-mock"].courier.start()` was called, when
    a running clock gets to them.
    """
    from mock_server.web.flask_app import flask_app

    return flask_app(build(chosen or settings(**given), sender))
