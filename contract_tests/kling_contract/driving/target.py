"""What is judged: where it is, whether it bills, which keys it knows and what it can be asked to do."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from kling_common.bodies import json_or_none
from kling_contract.driving.control import FEATURES, Control, ControlFailed
from kling_contract.driving.sender import Limits, RawResponse, Sender
from kling_contract.reading.addresses import is_loopback, split
from kling_contract.reading.contract import Contract, shipped
from kling_contract.rules.verdicts import SetupError

Mode = Literal["fake", "readonly", "refusals", "paid"]
_PATIENCE = 15.0
"""Seconds for each of the first calls: a target that is slower cannot be judged in any useful time."""


@dataclass(frozen=True, slots=True)
class Target:
    """One server under judgement.

    features: parts of the control protocol that it offers. accounts: whether keys of our own making are accounts.
    `beside`: operationIds of the documented optional operations that it serves. files: whether it serves the files
    API, which is asked for where nothing bills.
    """

    base: str
    key: str
    mode: Mode
    second_key: str = ""
    denied_key: str = ""
    features: frozenset[str] = frozenset()
    declared: tuple[str, ...] = ()
    accounts: bool = False
    optional: frozenset[str] = frozenset()
    files: bool = False
    control: Control | None = None

    @property
    def real(self) -> bool:
        """Whether it is taken for a service that bills."""
        return self.mode != "fake"

    @property
    def facts(self) -> dict[str, Any]:
        """What a history says of it."""
        return {"target": self.base, "mode": self.mode, "features": list(self.declared)}


def origin_of(url: str, *, allow_http: bool | None = None) -> str:
    """Return *url* as scheme, host and port, with a path where the API stands below one.

    Without a scheme it is http on this machine and https for any other. *allow_http*: send keys to another machine in clear; None
    where the caller has no such option.

    Raises:
        SetupError: it is no http(s) URL, or would show a key to the network.
    """
    guess = split(f"//{url}")
    near = guess is not None and guess.hostname is not None and is_loopback(guess.hostname)
    text = url if "://" in url else f"{'http' if near else 'https'}://{url}"
    parts = split(text)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetupError(f"{url!r} is no URL of a server; write it like http://127.0.0.1:4010")
    if parts.query or parts.fragment or parts.username:
        raise SetupError(f"{url!r}: only scheme, host, port and path; the key goes into --api-key")
    if parts.scheme == "http" and not (allow_http or is_loopback(parts.hostname)):
        way_out = "use https" if allow_http is None else "use https, or --allow-http"
        raise SetupError(f"{url}: plain http to {parts.hostname} would show the key to the network; {way_out}")
    return text.rstrip("/").removesuffix("/v1")


def on_this_machine(url: str) -> bool:
    """Return whether *url*, which has a scheme, leads to the loopback."""
    parts = split(url)
    return parts is not None and parts.hostname is not None and is_loopback(parts.hostname)


def choose_mode(base: str, asked: str | None, *, control: bool, services: Iterable[str]) -> Mode:
    """`fake` on the loopback or where there is a control protocol, else the real service, read only.

    services: origins of the real service, which no control protocol makes a fake.

    Raises:
        SetupError: *asked* is `fake` for what must be taken for the real service.
    """
    host = urlsplit(base).hostname or ""
    known = {urlsplit(service).hostname for service in services}
    harmless = host not in known and (is_loopback(host) or control)
    if asked == "fake" and not harmless:
        raise SetupError(
            f"{base} is not on this machine and offers no control protocol, so it may bill: use --mode readonly, refusals or paid"
        )
    if asked in get_args(Mode):
        return asked  # type: ignore[return-value]
    return "fake" if harmless else "readonly"


def services_of(contract: Contract) -> list[str]:
    """Origins of the real service."""
    return [str(server["url"]) for server in contract.document["servers"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user said of a target; `features` is `auto` or the names to believe in."""

    url: str
    key: str
    second_key: str = ""
    denied_key: str = ""
    mode: str | None = None
    features: str = "auto"
    token: str = ""
    allow_http: bool = False

    @property
    def keys(self) -> list[str]:
        """The keys that a run may send."""
        return [key for key in (self.key, self.second_key, self.denied_key) if key]

    @property
    def base(self) -> str:
        """The target's origin, with a path where the API stands below one; raises SetupError as `origin_of`."""
        return origin_of(self.url, allow_http=self.allow_http)


def discover(asked: Asked, contract: Contract, sender: Sender) -> Target:
    """Look at a target with two or three free calls.

    Raises:
        SetupError: it cannot be judged at all: unreachable, no JSON, or the key is refused.
    """
    base = asked.base
    _must_answer(sender, base)
    plain = Control(base, sender, token=asked.token)
    info = plain.info() if asked.mode in (None, "fake") and asked.features != "none" else None
    mode = choose_mode(base, asked.mode, control=info is not None, services=services_of(contract))
    declared = _declared(asked.features, info) if mode == "fake" else ()
    control = plain if declared else None
    optional = _optional(sender, base, asked.key, contract)
    return Target(
        base=base,
        key=asked.key,
        mode=mode,
        second_key=asked.second_key,
        denied_key=asked.denied_key,
        declared=declared,
        features=frozenset(declared),
        accounts=control is not None and _makes_accounts(control),
        optional=optional,
        files=mode == "fake" and _serves(sender, base, asked.key, contract, "getFileQuota"),
        control=control,
    )


def _declared(asked: str, info: Any) -> tuple[str, ...]:
    if asked == "none":
        return ()
    if asked != "auto":
        names = tuple(name.strip() for name in asked.split(",") if name.strip())
        unknown = sorted(set(names) - set(FEATURES))
        if unknown:
            raise SetupError(f"--features: no such feature: {', '.join(unknown)}; there are {', '.join(FEATURES)}")
        return names
    return tuple(str(name) for name in info["features"]) if info else ()


_WAY_OUT = "; is a server running there? `kling-mock serve` starts a fake"


def _must_answer(sender: Sender, base: str) -> None:
    """Raise SetupError with one line where nothing at all can be had from *base*."""
    reply = sender.send(
        "GET", base + shipped().task_path(made_up_id()), [("Accept", "application/json")], None, Limits(_PATIENCE)
    )
    if reply.status is None:
        raise SetupError(f"{base}: {reply.detail}{_WAY_OUT if on_this_machine(base) else ''}")


def made_up_id() -> str:
    """A well-formed id of a task that does not exist."""
    shape = shipped().id
    return shipped().unused_id("".join(secrets.choice(shape.suffix_alphabet) for _ in range(shape.suffix_length)))


def _optional(sender: Sender, base: str, key: str, contract: Contract) -> frozenset[str]:
    """The documented reads that the target answers, the key having been taken for good.

    Raises:
        SetupError: the key is refused, or nothing that it answers is JSON.
    """
    headers = [("Authorization", f"Bearer {key}"), ("Accept", "application/json")]
    query = sender.send("GET", base + shipped().task_path(made_up_id()), headers, None, Limits(_PATIENCE))
    found, replies = set(), [query]
    for name in ("getCredits", "listTasks", "listModels"):
        reply = sender.send("GET", base + contract.named(name).template, headers, None, Limits(_PATIENCE))
        replies.append(reply)
        if reply.status == 200 and json_or_none(reply.body) is not None:
            found.add(name)  # whatever its shape, which is for the rules to judge
    if all(reply.status == 401 for reply in replies):
        raise SetupError(f"{base}: the API key is refused (401)")
    if all(reply.status is None for reply in replies):
        raise SetupError(f"{base}: {query.detail}")
    if not any(_is_json(reply) for reply in replies):
        kind = next((value for name, value in query.headers if name.lower() == "content-type"), "no Content-Type")
        said = f"{query.status or query.lost}, {kind}"
        raise SetupError(f"{base}: what it answers ({said}) is not JSON: is this the address of the API?")
    return frozenset(found)


def _serves(sender: Sender, base: str, key: str, contract: Contract, name: str) -> bool:
    """Whether the target answers a read with JSON."""
    headers = [("Authorization", f"Bearer {key}"), ("Accept", "application/json")]
    reply = sender.send("GET", base + contract.named(name).template, headers, None, Limits(_PATIENCE))
    return reply.status == 200 and _is_json(reply)


def _is_json(reply: RawResponse) -> bool:
    return isinstance(json_or_none(reply.body), dict)


def _makes_accounts(control: Control) -> bool:
    """Whether a key that the fake has never seen is an account."""
    try:
        control.of("sk-contract-" + secrets.token_hex(6)).now()
    except ControlFailed:
        return False
    return True
