"""Servers that break rules of money (SB)."""

from typing import Any

from kling_contract.mutants.messages import DROP, CallbackPost, Known, Memory, ReceiverResponse, Request, Response
from kling_contract.mutants.mutant import Deliver, Switch, broken
from kling_contract.mutants.switches import (
    CALLBACK,
    READ,
    Task,
    asks,
    balance,
    chosen,
    fee,
    is_,
    one_for_twins,
    overdraws,
    setting,
    shows,
    status_was,
    to,
)  # fmt: skip

_POOR = 1000
"""A balance below this is one that the kit has set to see its end."""


def _dearer(task: Task, _: Known) -> None:
    task["usage"]["credits_used"] += 7


def _kept(task: Task, _: Known) -> None:
    task["usage"]["credits_used"] = task["usage"]["credits_reserved"]


def _flat(task: Task, _: Known) -> None:
    task["usage"]["credits_reserved"] = 30


def _no_refund() -> tuple[Switch, ...]:
    """What a failed task reserved never comes back."""

    def change(task: Task, known: Known) -> None:
        known.kept["lost"] = task["usage"]["credits_reserved"]

    noticing = shows(change, at=(READ,), when=is_("failed"))

    def on_response(ask: Request, answer: Response, memory: Memory) -> Response:
        if ask.name == "getCredits" and answer.accepted:
            with memory.lock:
                mine = [known for known in memory.tasks.values() if known.key == ask.key]
                lost = sum(known.kept.get("lost", 0) for known in mine)
            document = answer.json
            document["data"]["token"]["remaining_credits"] -= lost
            return answer.becomes(document)
        return answer

    return noticing, Switch(on_response=on_response)


def _per_retry() -> tuple[Switch, ...]:
    """Every attempt after the first costs a credit."""

    def on_callback(telling: CallbackPost, deliver: Deliver, memory: Memory) -> ReceiverResponse:
        if telling.task:
            known = memory.task(telling.task["id"])
            if memory.count(known, "attempts") > 1:
                memory.count(memory.account(known.key), "retries")
        return deliver(telling)

    return Switch(on_callback=on_callback), balance(lambda left, known: left - known.seen["retries"])


def _twins_for_one(ask: Request, answer: Response, memory: Memory) -> Response:
    """Of creates with one body, only the first is charged."""
    if ask.name == "createVideo" and answer.accepted and ask.sent.get("prompt") == "twins":
        known = memory.account(ask.key)
        if memory.count(known, "twins") > 1:
            known.kept["gift"] = known.kept.get("gift", 0) + answer.json["usage"]["credits_reserved"]
    return answer


def _dear_when_long(task: Task, known: Known) -> None:
    """Half as much again for what is longer than eight seconds."""
    if known.sent.get("duration", 0) > 8:
        task["usage"]["credits_reserved"] *= 1.5


def _shares_keys() -> Switch:
    """A create with a key that another account has used gets that account's task."""

    def on_request(ask: Request, memory: Memory) -> Request | Response:
        key = ask.header("idempotency-key")
        if ask.name != "createVideo" or not key:
            return ask
        with memory.lock:
            owner = memory.account("keys").kept.setdefault(key, ask.key)
        return ask.keyed(owner)

    return Switch(on_request=on_request)


def _cuts_key(ask: Request) -> Request:
    return ask.headed("Idempotency-Key", (ask.header("idempotency-key") or "")[:16])


def _spares(member: str, value: Any) -> Any:
    return lambda body: body.get(member) == value


MUTANTS = (
    broken("SB-01", "hd-is-cheaper", "asks less for 1080p than for 720p", chosen(credits_per_second={"720p": 9, "1080p": 7.2})),
    broken("SB-01", "flat-price", "says that every task reserves the same", shows(_flat)),
    broken("SB-02", "hidden-fee", "takes a credit on top of the reservation",
           fee(1, lambda ask, answer: ask.name == "createVideo" and answer.accepted and ask.sent.get("prompt") != "to be cancelled")),
    broken("SB-03", "dearer-in-the-end", "uses more than it reserved", shows(_dearer, at=(READ, CALLBACK), when=is_("completed"))),
    broken("SB-04", "failure-is-charged", "charges failed tasks", shows(_kept, at=(READ, CALLBACK), when=is_("failed"))),
    broken("SB-04", "no-refund", "never gives back what a failed task reserved", *_no_refund()),
    broken("SB-05", "402-has-a-price", "takes a credit for a create that the balance does not cover", fee(1, status_was(402))),
    broken("SB-06", "overdraft", "takes one create that the balance does not cover",
           overdraws(lambda body: body.get("prompt") != "burst")),
    broken("SB-07", "misses-cost", "takes a credit for a query that finds nothing", fee(1, status_was(404, name="getTask"))),
    broken("SB-08", "hidden-deduplication", "gives creates with one body one task", one_for_twins(), masked_by="SL-02"),
    broken("SB-08", "twins-for-one", "charges creates with one body once", Switch(on_response=_twins_for_one),
           balance(lambda left, known: left + known.kept.get("gift", 0)), masked_by="SB-02"),
    broken("SB-09", "burst-slips-through", "does not count creates that come at once", overdraws(_spares("prompt", "burst"))),
    broken("SB-10", "retries-have-a-price", "takes a credit for each retry of a callback", *_per_retry()),
    broken("SB-11", "below-zero", "shows small balances one too low", balance(lambda left, _: left - (left < _POOR))),
    broken("SB-12", "key-ignored", "does not know Idempotency-Key",
           asks(to("createVideo"), lambda ask: ask.headed("Idempotency-Key", DROP))),
    broken("SB-13", "replay-unsaid", "does not say that an answer is a replay", Switch(
        on_response=lambda _, answer, __: answer.headed("idempotency-replayed", DROP))),
    broken("SB-14", "replay-has-a-price", "takes a credit for each replay",
           fee(1, lambda _, answer: any(name.lower() == "idempotency-replayed" for name, _ in answer.headers))),
    broken("SB-15", "key-for-any-body", "takes another body under a used key for a create of its own",
           asks(lambda ask: ask.sent.get("prompt") == "twice", lambda ask: ask.headed("Idempotency-Key", DROP))),
    broken("SB-16", "key-counts-later", "makes a task for each of the creates that come at once with one key",
           asks(lambda ask: ask.sent.get("prompt") == "at once", lambda ask: ask.headed("Idempotency-Key", DROP))),
    broken("SB-17", "keys-for-all", "finds another account's task by its Idempotency-Key", _shares_keys(), scripts=("isolation",)),
    broken("SB-18", "dear-when-long", "takes half as much again for each second of a long video", shows(_dear_when_long),
           masked_by="SB-02"),
    broken("SB-19", "says-per-call", "says that it bills by the call", shows(setting(usage__billing_rule="per_call"))),
    broken("SB-20", "keys-are-cut", "looks at the first sixteen characters of a key",
           asks(lambda ask: ask.name == "createVideo" and len(ask.header("idempotency-key") or "") > 16, _cuts_key)),
    broken("SB-21", "costs-are-two", "names another cost in usage.cost than in credits_used",
           shows(setting(usage__cost={"credits": 1.5, "usd": 0.02}), at=(READ, CALLBACK), when=is_("completed"))),
)  # fmt: skip
