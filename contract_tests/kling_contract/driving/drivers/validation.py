"""Cases of what must be accepted: every bound from inside, and first frames of every kind."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson

from kling_contract.driving.drivers.probes import long_url, public_neighbours
from kling_contract.driving.drivers.run_context import RunContext, Script
from kling_contract.driving.receiver import HOST
from kling_contract.driving.session import Session
from kling_contract.history.labels import Expect, ImageFacts, Probe
from kling_contract.reading.contract import Contract
from kling_contract.rules.refusals import PLAIN

_DRAWN = "https://image.test"
_OTHER_FORMATS = ("gif", "webp", "bmp", "tiff")
_TYPICAL = 100_000
"""Bytes that a drawing of ordinary size has, roughly: far from every limit."""
_LOOK_INTERNAL = ("localhost", "mylocalhost", "10.0.0.1", "127.0.0.1", "192.168.0.1", "fd00", "internal")
"""How public names begin that lead nowhere inside."""
_PUBLIC = (
    f"https://{HOST}", f"https://{HOST}:443/done", f"https://{HOST}:8443/done", f"https://{HOST}/a_b/c%20d?one=1&two=%2F&three",
    f"HTTPS://{HOST.upper()}/Done", "https://[2606:4700:4700::1111]/done", "https://8.8.8.8/done",
    f"https://{HOST.upper()}/done", "https://xn--bcher-kva.hooks-1.example.com/done",
)  # fmt: skip
_TEN = 10
_ORDINARY = 'A café, "quoted" & <tagged>;\r\n\tthen 水 and 🌊 — 100% slow-motion \\ it\'s'
"""What people write: quotes, line breaks, and characters of several scripts."""


def _right(context: RunContext, session: Session, rule: str, field: str, values: Iterable[Any]) -> None:
    """A create that must be accepted, by *rule*, for each of *values* of *field*."""
    for value in values:
        session.create(context.body(**{field: value}), probe=Probe(rules=(rule,), expect=Expect.ACCEPTED))


def accepted(context: RunContext, session: Session) -> None:
    """Right creates at the bounds of each field."""
    contract = context.contract
    longest, least, most = contract.prompt_max, contract.duration_min, contract.duration_max
    prompts = ("", "a" * longest, "\u6c34" * longest, "\U0001f600" * longest, _ORDINARY)
    _right(context, session, "SV-06", "prompt", prompts)
    _right(context, session, "SV-10", "duration", range(least, most + 1))
    _right(context, session, "SV-31", "duration", map(float, (least, contract.duration_default, most)))
    if least <= _TEN <= most:
        body = orjson.dumps(context.body(duration=_TEN)).replace(b'"duration":%d' % _TEN, b'"duration":1e1')
        session.call("POST", contract.create_path, raw=body, probe=Probe(rules=("SV-31",), expect=Expect.ACCEPTED))
    _right(context, session, "SV-15", "quality", (*contract.qualities, None))


def unknown(context: RunContext, session: Session) -> None:
    """Members that the contract does not name, more than once."""
    for number, name in enumerate(("seed", "x_trace", "seed")):
        session.create({**context.body(), name: number}, probe=Probe(rules=("SW-20",)))


def addresses(context: RunContext, session: Session) -> None:
    """Callback URLs that are right: the longest one, and hosts just outside the internal ranges.

    The account's clock stands still, so that no task ends and no outside server is called.
    """
    names = [f"https://{name}.{HOST}" for name in _LOOK_INTERNAL]
    context.relay(session, dict.fromkeys((f"https://{HOST}", *names), context.receiver.origin))
    seeming = (
        "/127.0.0.1",
        "/localhost/10.0.0.1",
        "/done?to=192.168.0.1",
        "/done?next=http%3A%2F%2Flocalhost%3A3000%2F",
        "/done?next=http://127.0.0.1:3000/",
    )
    looks = (*(f"{name}/done" for name in names), *(f"https://{HOST}{rest}" for rest in seeming))
    _right(context, session, "SV-32", "callback_url", looks)
    _right(context, session, "SV-35", "callback_url", _PUBLIC)
    for what, before in ((PLAIN, "user"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost:10.0.0.1")):
        label = Probe(rules=("SV-34",), expect=Expect.ACCEPTED, field="callback_url", value=what)
        session.create(context.body(callback_url=f"https://{before}@{HOST}/done"), probe=label)
    _right(context, session, "SV-19", "callback_url", [long_url(context.contract)])
    hosts = public_neighbours(context.contract)
    _right(context, session, "SV-20", "callback_url", (f"https://{host}/done" for host in hosts))


def pictures(contract: Contract) -> list[tuple[str, ImageFacts]]:
    """First frames of the drawing host, right and wrong in one thing each: URL and what it is."""
    limits = contract.image
    side, wide = limits.min_side, round(limits.min_side * limits.ratio_max)
    tall = round(limits.min_side / limits.ratio_min)
    sizes = [
        (side, side), (side - 1, side), (side, side - 1), (side, side + 100), (wide, side), (wide + 1, side), (side, tall),
        (side, tall + 1), (wide * 2, side * 2), (wide * 2 + 2, side * 2),
    ]  # fmt: skip
    found = [(f"/{w}x{h}.jpg", ImageFacts(width=w, height=h, size=_TYPICAL, format="jpeg")) for w, h in sizes]
    plain = ImageFacts(width=640, height=480, size=_TYPICAL, format="jpeg")
    found += [
        (f"/640x480.{suffix}", replace(plain, format=name)) for suffix, name in (("png", "png"), ("jpeg", "jpeg"))
    ]
    found += [(f"/640x480.jpg?as={name}", replace(plain, format=name, misnamed=True)) for name in _OTHER_FORMATS]
    found.append(("/640x480.jpg?as=png", replace(plain, format="png", misnamed=True)))
    for size in (limits.safe_bytes, limits.max_bytes + 1):
        found.append((f"/640x480.jpg?bytes={size}", replace(plain, size=size)))
    found.append(("/640x480.jpg?truncated", replace(plain, fault="truncated")))
    found.append(("/640x480.png?truncated", replace(plain, format="png", fault="truncated")))
    found += [(f"/640x480.jpg?status={status}", ImageFacts(fault="unreachable")) for status in (404, 500)]
    return [(_DRAWN + path, facts) for path, facts in found]


def images(context: RunContext, session: Session) -> None:
    """A create for each picture; the accepted ones are followed to their end."""
    ids = []
    for url, facts in pictures(context.contract):
        probe = Probe(rules=("SV-21",), field="image_start", value=url, image=facts)
        seen = session.create(context.body(image_start=url), probe=probe)
        if seen.task_id:
            ids.append(seen.task_id)
    context.until_end(session, *ids, step=30.0)


SCRIPTS = (
    Script("accepted", ("SV-05", "SV-06", "SV-10", "SV-15", "SV-31"), accepted, document=True),
    Script("unknown-fields", ("SW-20",), unknown),
    Script("addresses", ("SV-19", "SV-20", "SV-32", "SV-34", "SV-35"), addresses, needs=("relays", "clock"), own=True),
)
IMAGES = Script("images", ("SV-21", "SV-22", "SV-23", "SV-24", "SV-25", "SV-26"), images, document=True)
"""Needs a target that resolves the drawing host."""
