"""What callers see of a task: one body for the create, the query and the callback, and the link to its video."""

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from kling_common.bodies import Padded, Payload
from kling_mock.config import ServiceSettings
from kling_mock.contract import Contract
from kling_mock.core import links, tasks
from kling_mock.core.deliveries import Delivery
from kling_mock.core.errors import TaskNotFound
from kling_mock.core.moments import after
from kling_mock.core.scenarios import Callback, Edit
from kling_mock.core.tasks import Stage, Status, Task
from kling_mock.ids import fingerprint
from kling_mock.service.catalogue import Catalogue
from kling_mock.service.lately import Lately
from kling_mock.service.models import Offer, Offers
from kling_mock.store.interface import Account, Store

_KEPT_CREATES = 1024
_COPY = re.compile(r"(?<=-[a-z0-9]{8})-[0-9]+$")
"""What the name of a task's second and further videos has after the task's id."""


@dataclass(slots=True)
class Notice:
    """What one attempt of a callback carries; `fault` names what a scenario did to it."""

    body: Payload
    content_type: str
    fault: str | None


@dataclass(eq=False)
class Views:
    """Renders facts as the contract shows them."""

    contract: Contract
    service_settings: ServiceSettings
    catalogue: Catalogue
    offers: Offers
    origin: str
    secret: bytes = field(repr=False)
    keeps: bool = True
    """Whether what was shown of a task is kept: not for a store that makes its tasks anew for each call."""
    _creates: dict[tuple[Any, ...], bytes] = field(default_factory=dict, repr=False)
    _bodies: Lately = field(init=False, repr=False)
    _rows: Lately = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._bodies, self._rows = Lately(self._lasts), Lately(self._lasts)

    def view(self, account: Account, task: Task, now: float) -> dict[str, Any]:
        """The task object as a caller sees it at *now*: the same for the create, the query and the callback."""
        return self._shown(account, task, now, tasks.stage(task, now))

    def view_json(self, account: Account, task: Task, now: float) -> bytes:
        """What `view` shows, as JSON."""
        return self._bodies.json(task, now, lambda stage: self._shown(account, task, now, stage))

    def created_json(self, account: Account, task: Task) -> bytes:
        """What the create answers, as JSON, the first time and each time it is repeated: pending, whatever has become of the task since.

        It begins with two members of the task's own; the rest is that of others like it.
        """
        own = b'{"created":%d,"id":"%b"' % (int(task.created_at), task.id.encode())
        alike = task.model, task.seconds, task.reserved, type(task.reserved)
        rest = self._creates.get(alike)
        if rest is None:
            stage = Stage(Status.PENDING, 0, task.created_at)
            whole = orjson.dumps(self._shown(account, task, task.created_at, stage))
            if not whole.startswith(own):
                return whole
            if len(self._creates) >= _KEPT_CREATES:
                self._creates.clear()
            rest = self._creates[alike] = whole[len(own) :]
        return own + rest

    def _shown(self, account: Account, task: Task, now: float, stage: Stage) -> dict[str, Any]:
        contract, service_settings, offer = self.contract, self.service_settings, self.offers[task.model]
        terminal = stage.status.terminal
        body: dict[str, Any] = {
            "created": int(task.created_at),
            "id": task.id,
            "model": task.model,
            "object": contract.object,
            "progress": self._progress(stage),
            "status": stage.status.value,
            "task_info": self._info(task, offer, terminal),
            "type": contract.type,
            "usage": {
                "billing_rule": offer.billing_rule,
                "credits_reserved": task.reserved,
                "user_group": contract.user_group,
            },
        }
        if stage.status is Status.COMPLETED:
            self._add_charge(body, task)
            self._add_results(body, task, offer, self.links(account, task, stage), now)
            if service_settings.completed_body == "observed":
                self._observe(body, task, stage)
        elif stage.status is Status.FAILED:
            body["usage"]["credits_used"] = 0
            code = stage.code or "unknown_error"
            body["error"] = {"code": code, "message": contract.task_errors[code], "type": contract.task_error_type}
        return body

    def _lasts(self, stage: Stage) -> bool:
        """Return whether what is shown depends on the stage alone, and not on the age of links as well, and may be kept."""
        return self.keeps and (stage.status is not Status.COMPLETED or self.service_settings.expired_results != "empty")

    def row_json(self, task: Task, now: float) -> bytes:
        """The task in a list (wire-facts "Corrections", C), as JSON: what `view` shows of it at *now*, without links and details."""
        return self._rows.json(task, now, lambda stage: self._row(task, stage, now))

    def _row(self, task: Task, stage: Stage, now: float) -> dict[str, Any]:
        completed = stage.status is Status.COMPLETED
        return {
            "id": task.id,
            "model": task.model,
            "type": self.contract.type,
            "status": stage.status.value,
            "progress": self._progress(stage),
            "created_at": int(task.created_at),
            "has_results": completed and self._lists_results(task, stage, now),
            "has_error": stage.status is Status.FAILED,
            "credits_used": task.charged if completed else 0,
        }

    def _progress(self, stage: Stage) -> int:
        failed = stage.status is Status.FAILED
        return 0 if failed and self.service_settings.failed_progress == "zero" else stage.progress

    def _lists_results(self, task: Task, stage: Stage, now: float) -> bool:
        """Return whether a completed task shows links, without drawing them."""
        if not self.offers[task.model].makes_video:
            return False
        return self.service_settings.expired_results != "empty" or now < after(stage.since, self._lifetime(task))

    def _lifetime(self, task: Task) -> float:
        lifetime = self.catalogue.behaviour(task.scenario).links.lifetime
        return self.contract.link.lifetime if lifetime is None else lifetime

    def _add_charge(self, body: dict[str, Any], task: Task) -> None:
        usd = round(task.charged * self.service_settings.usd_per_credit, 6)
        body["usage"] |= {"credits_used": task.charged, "cost": {"credits": task.charged, "usd": usd}}

    def _add_results(self, body: dict[str, Any], task: Task, offer: Offer, found: list[links.Link], now: float) -> None:
        if not offer.makes_video:
            body["result_data"] = [{"element_id": fingerprint("element", task.id)}]
            return
        listed = [it.url for it in found if not (self.service_settings.expired_results == "empty" and it.expired(now))]
        body["results"] = listed
        if self.service_settings.result_data:
            body["result_data"] = [{"video_url": url, "url": url, "duration": task.seconds} for url in listed]

    def _info(self, task: Task, offer: Offer, terminal: bool) -> dict[str, Any]:
        info: dict[str, Any] = {"can_cancel": not terminal} if self.service_settings.cancel_field else {}
        info["estimated_time"] = 0 if terminal else offer.estimate
        if offer.makes_video:
            info["video_duration"] = task.seconds if isinstance(task.seconds, int) else int(task.seconds + 0.5)
        return info

    def _observe(self, body: dict[str, Any], task: Task, stage: Stage) -> None:
        """Leave what one stored production body had: no reservation, no estimate, and the seconds that the task took."""
        cny = round(task.charged * self.service_settings.cny_per_credit, 6)
        usage = body["usage"]
        body["usage"] = {"cost": {**usage["cost"], "cny": cny}, "credits_used": usage["credits_used"]}
        body["task_info"] = {"can_cancel": False}
        body["duration"] = round(stage.since - task.created_at)

    def links(self, account: Account, task: Task, stage: Stage) -> list[links.Link]:
        """Return the links to a completed task's videos; the same each time."""
        offer = self.offers[task.model]
        if not offer.makes_video:
            return []
        seconds = self._lifetime(task)
        names = [task.id, *(f"{task.id}-{number}" for number in range(2, offer.count + 1))]
        origin = task.origin or self.origin
        return [links.issue(origin, account.name, it, stage.since, seconds, self.secret) for it in names]

    def open_link(
        self, store: Store, account_name: str, task_id: str, path: str, expires: str, signature: str
    ) -> tuple[Account, Task, bool]:
        """Whose video a link leads to, and whether the link has expired.

        Raises:
            TaskNotFound: no such video, or the link was tampered with.
        """
        account = store.named(account_name)
        task = (store.task(account, task_id) or store.task(account, _COPY.sub("", task_id))) if account else None
        try:
            dies = links.check(path, expires, signature, self.secret)
        except ValueError as error:
            raise TaskNotFound("this link was not made here") from error
        if account is None or task is None:
            raise TaskNotFound("no video stands behind this link")
        return account, task, account.clock.now() >= dies

    def callback(self, account: Account, task: Task, delivery: Delivery) -> Notice:
        """Return what an attempt carries: the task as a query would show it now, edited where the scenario says so."""
        behaviour = self.catalogue.behaviour(task.scenario)
        nth = delivery.order[1]
        twist = behaviour.callbacks[nth - 1] if nth <= len(behaviour.callbacks) else Callback()
        content_type = twist.content_type or "application/json"
        if twist.body is not None:
            return Notice(twist.body.encode(), content_type, twist.fault(nth))
        body = self.view(account, task, account.clock.now())
        act = behaviour.act("callback", nth)
        faults = [twist.fault(nth)]
        if act is not None and act.edit is not None and body["status"] in act.edit.only:
            body = edited(body, act.edit)
            faults.append(f"callback {act.edit.fault}")
        if twist.edit is not None:
            body = edited(body, twist.edit)
        fault = next((fault for fault in faults if fault), None)
        if not twist.padding:
            return Notice(orjson.dumps(body), content_type, fault)
        start, quote, end = orjson.dumps({**body, "padding": ""}).rpartition(b'"')
        return Notice(Padded(start, twist.padding, quote + end), content_type, fault)


def edited(body: dict[str, Any], edit: Edit) -> dict[str, Any]:
    """*body* with a scenario's changes; a dotted name reaches into an object."""
    changed = {name: dict(value) if isinstance(value, dict) else value for name, value in body.items()}
    for name, value in edit.set.items():
        holder, last = _reach(changed, name)
        if holder is not None:
            holder[last] = value
    for name in edit.drop:
        holder, last = _reach(changed, name)
        if holder is not None:
            holder.pop(last, None)
    return changed


def _reach(body: dict[str, Any], name: str) -> tuple[dict[str, Any] | None, str]:
    *path, last = name.split(".")
    holder: Any = body
    for part in path:
        holder = holder.get(part) if isinstance(holder, dict) else None
    return (holder if isinstance(holder, dict) else None), last
