"""The calls that a service which bills is sent: data, so that a plan can be printed, hashed and agreed to before any is made."""

import base64
import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson

from kling_contract.driving.drivers.probes import Near, near_misses
from kling_contract.driving.drivers.refusals import MALFORMED
from kling_contract.driving.drivers.sureness import grade_of
from kling_contract.driving.pricing import Price
from kling_contract.driving.session import Seen, Session
from kling_contract.driving.target import made_up_id
from kling_contract.history.labels import Expect, Probe
from kling_contract.reading.contract import Contract

OPTIONAL_READS = ("getCredits", "listTasks")
_REPEATED = 3
_GRADES = ("D", "S", "A")
"""The surest refusal first."""
SURE = ("D", "S")
"""Grades of refusals that a service which bills is asked for without --include-assumptions."""


class Kind(StrEnum):
    """What a step can cost: a read nothing, a refusal nothing where the service does what it says, a task its price.

    keyless: a create without a key of the account's, which no service can charge to it.
    """

    READ = "read"
    KEYLESS = "keyless"
    REFUSAL = "refusal"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class Step:
    """One planned call. auth as `Session.call` takes it; `{key}`, `{basic}`, `{unknown}` and `{unknown_id}` are filled in when it
    is sent. grade: how sure its refusal is. optional: the operation that it needs and a server may lack. Charges in dollars."""

    method: str
    path: str
    rules: tuple[str, ...]
    what: str = ""
    kind: Kind = Kind.READ
    body: Any = None
    raw: bytes | None = None
    auth: str | None = ""
    expect: Expect | None = None
    grade: str = ""
    field: str = ""
    optional: str = ""
    expected_usd: float = 0.0
    worst_usd: float = 0.0

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.method} {self.path}  {self.what}".rstrip()

    def identity(self) -> list[Any]:
        """What makes it this call and no other, for a hash."""
        raw = None if self.raw is None else base64.b64encode(self.raw).decode()
        return [self.method, self.path, self.auth, self.body, raw, self.expect, round(self.worst_usd, 6)]

    def probe(self) -> Probe:
        """The label of its exchange."""
        value = self.what if len(self.what) < 200 else self.what[:60] + "..."
        return Probe(rules=self.rules, expect=self.expect, field=self.field, value=value)

    def send(self, session: Session) -> Seen:
        """Send it.

        Raises:
            Stopped, Withheld: see `Session.call`.
        """
        unknown = f"unknown-{secrets.token_hex(12)}"
        basic = base64.b64encode(f"{session.key}:".encode()).decode()
        auth = None if self.auth is None else self.auth.format(key=session.key, basic=basic, unknown=unknown)
        path = self.path.replace("{unknown_id}", made_up_id())
        body = {**self.body, "api_key": session.key} if _keyed_body(self.body) else self.body
        return session.call(self.method, path, body, raw=self.raw, auth=auth, probe=self.probe())


def _keyed_body(body: Any) -> bool:
    return isinstance(body, Mapping) and body.get("api_key") == "{key}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one run will send, in order, and what it may cost."""

    mode: str
    base: str
    contract: str
    steps: tuple[Step, ...] = field(default=())
    price: Price | None = None

    @property
    def hash(self) -> str:
        """What a user agrees to: the same for the same calls to the same target, and for no others."""
        calls = [step.identity() for step in self.steps]
        text = orjson.dumps([self.mode, self.base, self.contract, calls], default=str)
        return hashlib.sha256(text).hexdigest()[:16]

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        calls = [
            {"call": step.name, "kind": str(step.kind), "rules": list(step.rules), "grade": step.grade,
             "expected_usd": round(step.expected_usd, 4), "worst_usd": round(step.worst_usd, 4)}
            for step in self.steps
        ]  # fmt: skip
        return {"mode": self.mode, "target": self.base, "contract": self.contract, "hash": self.hash, "calls": calls}

    def of(self, *kinds: Kind) -> list[Step]:
        """The steps of some kinds."""
        return [step for step in self.steps if step.kind in kinds]


def reads(contract: Contract) -> Iterator[Step]:
    """Calls that cost nothing whatever the service makes of them: the only ones that carry the account's key without a cap."""
    query = contract.named("getTask").template
    nobody, create = query.replace("{task_id}", "{unknown_id}"), contract.named("createVideo").template
    for malformed in MALFORMED:
        yield Step("GET", query.replace("{task_id}", malformed), ("SL-16",), "a malformed id")
    yield Step("GET", nobody, ("SL-16",), "an id that no task has", expect=Expect.NO_SUCH_TASK)
    yield Step("GET", create, ("SW-16",), "a method that the path does not have")
    optional = [(contract.named(name).template, name) for name in OPTIONAL_READS]
    for path, name in ((nobody, ""), *optional):
        yield Step("GET", path, ("SA-01",), "no key", auth=None, expect=Expect.UNAUTHORIZED, optional=name)
        yield Step(
            "GET",
            path,
            ("SA-02",),
            "an unknown key",
            auth="Bearer {unknown}",
            expect=Expect.UNAUTHORIZED,
            optional=name,
        )
    for auth in ("Basic {basic}", "Token {key}", "{key}"):
        yield Step("GET", nobody, ("SA-03",), "another scheme", auth=auth, expect=Expect.UNAUTHORIZED)
    yield Step("GET", nobody, ("SA-09",), "bearer in small letters", auth="bearer {key}", expect=Expect.NO_SUCH_TASK)


def keyless(contract: Contract, right: Mapping[str, Any]) -> Iterator[Step]:
    """Creates that carry no key, or a made-up one: whatever comes of them, this account does not pay."""
    create = contract.named("createVideo").template
    wrong = {**right, "duration": contract.duration_max + 1}
    cases = (
        (("SA-01",), "a right body without a key", right, None, None),
        (("SA-02",), "a right body with an unknown key", right, None, "Bearer {unknown}"),
        (("SA-05",), "a wrong body with an unknown key", wrong, None, "Bearer {unknown}"),
        (("SA-01", "SA-05"), "no JSON and no key", None, b"no json", None),
    )
    for rules, what, body, raw, auth in cases:
        yield Step(
            "POST", create, rules, what, Kind.KEYLESS, dict(body) if body is not None else None, raw, auth, Expect.UNAUTHORIZED
        )  # fmt: skip


def refusals(contract: Contract, right: Mapping[str, Any], price: Price, *, assumptions: bool) -> list[Step]:
    """Creates that carry the key and must be refused: the surest first, then the cheapest.

    assumptions: also those whose refusal no source documents.
    """
    create = contract.named("createVideo").template
    misses = [near for near in near_misses(contract, right) if not near.risky and not _another_model(near, contract)]
    steps = [_refusal(create, near, price, contract) for near in misses]
    steps = [step for step in steps if assumptions or step.grade in SURE]
    if assumptions:
        steps += _strange_keys(contract, right, price)
    steps.sort(key=lambda step: (_GRADES.index(step.grade), step.worst_usd))
    again = [replace(step, rules=(*step.rules, "SV-28")) for step in steps[:_REPEATED]]
    return [
        one for number, step in enumerate(steps) for one in ((step, again[number]) if number < len(again) else (step,))
    ]


def _another_model(near: Near, contract: Contract) -> bool:
    """Whether it names another model of the family: for that one it may be right, and a service that has it may take it."""
    return near.field == "model" and isinstance(near.value, str) and near.value in (contract.model, *contract.others)


def _strange_keys(contract: Contract, right: Mapping[str, Any], price: Price) -> list[Step]:
    create = contract.named("createVideo").template
    cases = (
        (("SA-03",), "a right body with the key in another scheme", dict(right), "Token {key}"),
        (("SA-04",), "the key in the body", {**right, "api_key": "{key}"}, None),
    )
    return [
        Step(
            "POST", create, rules, what, Kind.REFUSAL, body, None, auth, Expect.UNAUTHORIZED, "A", "",
            worst_usd=price.worst(body, contract),
        )
        for rules, what, body, auth in cases
    ]  # fmt: skip


def _refusal(path: str, near: Near, price: Price, contract: Contract) -> Step:
    left_out = near.raw is None and near.field not in near.body
    value = "left out" if left_out else repr(near.value)
    shown = value if len(value) < 60 else f"{value[:40]}... ({len(str(near.value))} characters)"
    return Step(
        "POST", path, near.rules, f"{near.field or 'body'}: {shown}", Kind.REFUSAL, near.body, near.raw, "", Expect.REFUSED,
        grade_of(near, contract), near.field, worst_usd=price.worst(near.body, contract),
    )  # fmt: skip


def task(contract: Contract, right: Mapping[str, Any], price: Price) -> Step:
    """The one create that a paid run sends: the shortest, in the default quality."""
    rules = ("SM-02", "SM-04", "SL-01") if contract.asks_another else ("SV-05", "SV-10", "SV-15", "SL-01", "SB-01")
    shown = [f"{right[name]}{unit}" for name, unit in (("duration", " s"), ("quality", "")) if name in right]
    what = f"the cheapest task: {', '.join(shown) or right['model']}"
    return Step(
        "POST", contract.named("createVideo").template, rules, what, Kind.TASK, dict(right), expect=Expect.ACCEPTED,
        expected_usd=price.expected(right, contract), worst_usd=price.worst(right, contract),
    )  # fmt: skip


def steps_of(
    mode: str, contract: Contract, right: Mapping[str, Any], price: Price, *, assumptions: bool = False
) -> Iterable[Step]:
    """What a mode sends, the free part first."""
    yield from reads(contract)
    yield from keyless(contract, right)
    if mode == "refusals":
        yield from refusals(contract, right, price, assumptions=assumptions)
    if mode == "paid":
        yield task(contract, right, price)
