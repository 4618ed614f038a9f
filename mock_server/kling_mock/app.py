"""`create_app()`: the fake as a Flask application, usable under any WSGI server and under Flask's test client."""

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import kling_openapi
from kling_common.masking import Mask
from kling_common.transport import Transport, resolve_system
from kling_mock import clock as clocks
from kling_mock import ids
from kling_mock.config import BadSetting, ServiceSettings, Settings, settings
from kling_mock.contract import Contract
from kling_mock.core.callbacks import is_internal
from kling_mock.media.files import Files
from kling_mock.media.frames import Frames
from kling_mock.service.catalogue import Catalogue
from kling_mock.service.courier import Courier
from kling_mock.service.senders import Sender
from kling_mock.service.world import World
from kling_mock.store.interface import Store, StoreUnusable
from kling_mock.store.journal import Journal
from kling_mock.store.memory import MemoryStore
from kling_mock.store.records import MOST_UNTOUCHED
from kling_mock.web.access import Access, impersonated
from kling_mock.web.accounts import Accounts
from kling_mock.web.api import Api
from kling_mock.web.control import Control
from kling_mock.web.files_api import FilesApi
from kling_mock.web.media import Media
from kling_mock.web.metrics import Metrics
from kling_mock.web.parts import Fake

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
    contract = Contract(chosen.contract or kling_openapi.SERVICE, chosen.models)
    service_settings = ServiceSettings(contract, chosen.profile, chosen.service_settings)
    catalogue = Catalogue(contract.task_errors, contract.errors, chosen.scenarios)
    callbacks = _transport(
        chosen, lambda ip: chosen.callbacks == "local" or not is_internal(ip, contract.address.internal)
    )
    fetcher = _transport(chosen, lambda ip: not is_internal(ip, contract.address.internal))
    store = _store(chosen, service_settings)
    with ExitStack() as unless_all_is_well:
        unless_all_is_well.callback(store.close)
        fake = _fake(chosen, contract, service_settings, catalogue, store, fetcher, callbacks, sender)
        unless_all_is_well.pop_all()
    return fake


def _fake(
    chosen: Settings,
    contract: Contract,
    service_settings: ServiceSettings,
    catalogue: Catalogue,
    store: Store,
    fetcher: Transport,
    callbacks: Transport,
    sender: Sender | None,
) -> Fake:
    """Put the parts together, all on *store*."""
    salt = store.secret("mask", partial(ids.secret, "mask", chosen.chosen_seed))
    # It does not learn: there may be any number of keys, and they are known by their shape or from the settings.
    store.journal.mask = Mask(salt, chosen.keys or (), own=_pseudonym, learns=False)
    files = Files(contract, store)
    frames = Frames(contract, chosen, service_settings, fetcher, files, store)
    inside = partial(callbacks.leads_inside, timeout=_RESOLVES_AT_ONCE)
    world = World(contract, chosen, service_settings, catalogue, frames, store, inside)
    courier = Courier(world, sender or callbacks, sends=not chosen.no_courier)
    access = Access(chosen, impersonated(chosen, contract.document) if chosen.impersonate else ())
    api = Api(world, courier, access)
    uploads = FilesApi(api, files)
    api.take(Accounts(api).handlers)
    api.take(uploads.handlers)
    return Fake(world, courier, api, Control(world, courier, access), Media(world), uploads, Metrics(world, access))


def _pseudonym(key: str) -> str | None:
    """Return the pseudonym of an API key: the beginning of its account's name, so that a journal shows whose key it was."""
    return f"key-{ids.fingerprint(key)[:8]}" if key.startswith("sk-") else None


def _store(chosen: Settings, service_settings: ServiceSettings) -> Store:
    if chosen.store == "memory":
        journal = Journal(entries=chosen.journal)
        return MemoryStore(
            chosen.start_clock,
            service_settings.starting_credits,
            journal,
            chosen.relays,
            service_settings.upload_store_bytes,
            MOST_UNTOUCHED,
        )
    from kling_mock.store.sql.store import SqlStore

    try:
        return SqlStore(
            chosen.store,
            chosen.start_clock,
            service_settings.starting_credits,
            entries=chosen.journal,
            relays=chosen.relays,
            upload_bytes=service_settings.upload_store_bytes,
            started_as=f"{chosen.clock} {chosen.start}",
            settings=chosen.as_json(leave_out=("store", "admin_token", "workers", "no_courier")),
            most_untouched=MOST_UNTOUCHED,
        )
    except StoreUnusable as error:
        raise BadSetting(str(error)) from error


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
    from kling_mock.web.flask_app import flask_app

    return flask_app(build(chosen or settings(**given), sender))
