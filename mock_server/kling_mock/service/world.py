"""What callers do to an account: prove who they are, create, find and read tasks. Nothing is sent from here."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from kling_common.targets import Target
from kling_mock import ids
from kling_mock.clock import Clock
from kling_mock.config import ServiceSettings, Settings
from kling_mock.contract import Contract
from kling_mock.core import upload_tokens
from kling_mock.core.errors import ApiError, PermissionDenied, TaskNotFound, Unauthorized
from kling_mock.core.scenarios import Act
from kling_mock.core.tasks import Task
from kling_mock.media.frames import Frames
from kling_mock.service.catalogue import Catalogue
from kling_mock.service.creating import Creating
from kling_mock.service.measures import Measures
from kling_mock.service.models import Offers
from kling_mock.service.timeline import Timeline
from kling_mock.service.views import Views
from kling_mock.store.interface import Account, Store

_KEPT_HEADERS = 1024
"""Authorization headers that were found right and are not read again."""


class World:
    """All accounts under one contract, one seed and one set of settings."""

    def __init__(
        self,
        contract: Contract,
        settings: Settings,
        service_settings: ServiceSettings,
        catalogue: Catalogue,
        frames: Frames,
        store: Store,
        leads_inside: Callable[[Target], bool],
    ) -> None:
        self.contract, self.catalogue = contract, catalogue
        self.settings, self.service_settings = settings, service_settings
        self.frames, self.store, self.journal = frames, store, store.journal
        self.measures = Measures()
        secret = store.secret("links", partial(ids.secret, "links", settings.chosen_seed))
        self.offers = Offers(contract, service_settings)
        origin = settings.public_url or settings.own_origin
        keeps = not store.blocking
        self.views = Views(contract, service_settings, catalogue, self.offers, origin, secret, keeps)
        self._secret = secret
        self.timeline = Timeline(catalogue, service_settings.task_retention_seconds, contract.delivery.timeout)
        self.creating = Creating(
            contract,
            settings,
            service_settings,
            catalogue,
            frames,
            self.offers,
            self.timeline,
            leads_inside,
            store.is_remembered,
            self.views.origin,
        )
        self._keys = None if settings.keys is None else frozenset(settings.keys)
        self._key = lru_cache(_KEPT_HEADERS)(self._read_key)

    # Who calls

    def account(self, authorization: str | None) -> Account:
        """Return the account of an Authorization header.

        Raises:
            Unauthorized: no Bearer key in it, or one that is not known.
        """
        return self.store.seen(self.key_in(authorization))

    def key_in(self, authorization: str | None) -> str:
        """Return the key in an Authorization header, without a look into the store.

        Raises:
            Unauthorized: no Bearer key in it, or one that is not known.
        """
        return self._key(authorization)

    def _read_key(self, authorization: str | None) -> str:
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme != "Bearer" and scheme.lower() != "bearer":
            raise Unauthorized("no valid API key; send the header `Authorization: Bearer YOUR_API_KEY`")
        if not self.knows(key):
            known = (
                "any that begins with sk-, such as sk-test"
                if self._keys is None
                else "those of --keys, and this is none of them"
            )
            raise Unauthorized(f"no valid API key; this fake accepts {known}")
        return key

    def upload_token(self, account: Account) -> tuple[str, int]:
        """Return a token that stands for the account's key on the file host, and when it dies."""
        rule = self.contract.upload_token
        expires = int(account.clock.now() + rule["lifetime_seconds"])
        return upload_tokens.issue(rule["prefix"], account.name, expires, self._secret), expires

    def holder(self, authorization: str | None) -> Account | None:
        """Return the account that an upload token in an Authorization header stands for; None for anything else."""
        token = (authorization or "").partition(" ")[2].strip()
        found = upload_tokens.read(token, self.contract.upload_token["prefix"], self._secret)
        account = self.store.named(found[0]) if found else None
        return account if found and account is not None and account.clock.now() < found[1] else None

    def knows(self, key: str) -> bool:
        """Whether *key* has an account: one of those listed, or any that begins with sk-."""
        if self._keys is not None:
            return key in self._keys
        return key.startswith("sk-") and len(key) > 3 and key.isascii() and key.isprintable() and " " not in key

    def clock_of(self, account: Account | None) -> Clock:
        """Return the account's clock, or the server's where a call is about no account."""
        return self.store.clock if account is None else account.clock

    def note(self, account: Account | None, kind: str, at: float | None = None, /, **facts: Any) -> None:
        """Write into the journal what happened to an account, or to the server; now by its clock, unless *at* says when."""
        moment = self.clock_of(account).now() if at is None else at
        self.journal.add(moment, account.name if account else None, kind, **facts)

    def check_rate(self, account: Account, error: type[ApiError]) -> None:
        """Count a request against the account's limit.

        Raises:
            ApiError: the limit is passed; it is an *error* with Retry-After.
        """
        if account.rate_limit is None:
            return
        window = self.service_settings.rate_window_seconds
        wait = self.store.count_request(account, window)
        if wait is not None:
            seconds = max(1, -int(-wait // 1))
            raise error(
                f"more than {account.rate_limit} requests in {window:g} seconds",
                headers={"Retry-After": str(seconds)},
            )

    # Reading

    def read(self, account: Account, task_id: str) -> tuple[Task, float, Act | None]:
        """Count one read by a caller; return the task, the moment of the read, and the scenario's act for it.

        Raises:
            TaskNotFound: there is no such task.
            PermissionDenied: another account has it, and the setting `foreign_task` says so.
        """
        found = self.store.read(account, task_id, self.timeline.retention)
        if found is None:
            raise self._missing(account, task_id)
        task, now = found
        act = self.catalogue.behaviour(task.scenario).act("query", task.reads)
        return task, now, act

    def _missing(self, account: Account, task_id: str) -> ApiError:
        if self.service_settings.foreign_task == "forbidden":
            owner = self.store.owner(task_id)
            if owner is not None and owner.name != account.name:
                return PermissionDenied("this key may not read this task")
        return TaskNotFound("no task has this id", param="task_id")
