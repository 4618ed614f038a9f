"""A client in front of the real service: the one happy story, through the recording proxy with the money guard."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kling_common.authority import Authority
from kling_contract.driving.drivers.running import Money
from kling_contract.driving.pricing import Price
from kling_contract.driving.sender import Sender
from kling_contract.history.events import Download, Note, Recorder
from kling_contract.history.labels import Topic
from kling_contract.lab import stories as catalogue
from kling_contract.lab.environment import bare
from kling_contract.lab.results import RunRequest, RunResult
from kling_contract.lab.run import MakeAdapter
from kling_contract.lab.stories import Story
from kling_contract.reading.contract import Contract
from kling_contract.recording.proxy import RecordingProxy
from kling_contract.recording.setup import opened
from kling_contract.rules.case_facts import CaseFacts
from kling_contract.rules.verdicts import CLIENT

STORY = "happy"
_GRACE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RealWanted:
    """A client's run against a service that bills. min_poll and deadline: seconds that the client is given.

    Without a min_poll it is what the adapter declares, else the contract's.
    """

    name: str
    upstream: str
    key: str
    image: str
    min_poll: float | None
    deadline: float
    money: Money = field(default_factory=Money)
    allow_http: bool = False
    authority: Authority | None = None
    sender: Sender = field(default_factory=Sender)


def request_of(wanted: RealWanted, contract: Contract) -> dict[str, Any]:
    """The cheapest job: what the client is asked for."""
    return {"image_start": wanted.image, "duration": contract.duration_min, "quality": contract.quality_default}


def plan_lines(wanted: RealWanted, contract: Contract) -> list[str]:
    """What the run will do and may cost, before anything is done."""
    price = Price.of(contract, wanted.money.usd_per_second)
    body = {**request_of(wanted, contract), "model": contract.model}
    creates = wanted.money.creates if wanted.money.creates is not None else 1
    return [
        f"plan: one story, {STORY}: the client is asked for one video of {body['duration']} s in {body['quality']}",
        f"{wanted.upstream} gets what the client sends; at most {creates} accepted {'create' if creates == 1 else 'creates'}",
        f"expected: ${price.expected(body, contract):.2f}; at worst ${price.worst(body, contract):.2f} a create; "
        f"cap: ${wanted.money.max_usd or 0.0:.2f}",
    ]


def run(wanted: RealWanted, make: MakeAdapter, contract: Contract, recorder: Recorder) -> list[str]:
    """Put the client through the story; everything is in *recorder* afterwards. Return what the user has to know.

    make: an adapter in a folder and an environment that lead a client to the proxy, for one that is a process of its own.

    Raises:
        SetupError: the client cannot be started, or something may be charged and there is no cap.
    """
    story = catalogue.load(contract)[STORY]
    recorder.mask.learn(wanted.key)
    with _proxy(wanted, contract, recorder) as proxy, tempfile.TemporaryDirectory(prefix="kling-real-") as name:
        folder = Path(name) / "client"
        folder.mkdir()
        with closing(make(folder, {**bare(folder), **proxy.variables})) as adapter:
            pace = wanted.min_poll or adapter.min_poll or contract.min_poll
            order = _order(replace(wanted, min_poll=pace), contract, proxy, folder, story)
            recorder.add(Note(topic=Topic.CASE, case=STORY, who=wanted.key, data=_facts(story, order, proxy).data()))
            result = adapter.run(order)
        _close(result, recorder, wanted.key)
        return proxy.remarks()


@contextmanager
def _proxy(wanted: RealWanted, contract: Contract, recorder: Recorder) -> Iterator[RecordingProxy]:
    made = opened(
        wanted.upstream, contract, wanted.money, recorder, sender=wanted.sender, authority=wanted.authority, mode=CLIENT, case=STORY,
        target=wanted.name, allow_http=wanted.allow_http,
    )  # fmt: skip
    with made as proxy:
        yield proxy


def _order(wanted: RealWanted, contract: Contract, proxy: RecordingProxy, folder: Path, story: Story) -> RunRequest:
    out, pace = folder / "video.mp4", wanted.min_poll or contract.min_poll
    asked = request_of(wanted, contract)
    found = {
        "KLING_API_KEY": wanted.key, "EVOLINK_API_KEY": wanted.key, "KLING_OUT": str(out), "KLING_CASE": STORY,
        "KLING_IMAGE": wanted.image, "KLING_DEADLINE": f"{wanted.deadline:g}", "KLING_MIN_POLL": f"{pace:g}",
        "KLING_QUALITY": str(asked["quality"]), "KLING_DURATION": str(asked["duration"]),
    }  # fmt: skip
    return RunRequest(
        case=STORY, job=1, base_url=proxy.url, api_key=wanted.key, request=asked, folder=folder, out=out, min_poll=pace,
        deadline=wanted.deadline, grace=_GRACE, needs=story.needs, environment={**bare(folder), **found, **proxy.variables},
    )  # fmt: skip


def _facts(story: Story, order: RunRequest, proxy: RecordingProxy) -> CaseFacts:
    return CaseFacts(
        story=story.name, summary=story.summary, rules=story.rules, right=story.right, request=dict(order.request),
        base_url=order.base_url, api=proxy.upstream.base, deadline=order.deadline, grace=order.grace, min_poll=order.min_poll,
        limit=order.deadline + order.grace,
    )  # fmt: skip


def _close(result: RunResult, recorder: Recorder, key: str) -> None:
    """Write down what the client said and left, and what the links that it fetched served."""
    recorder.add(Note(topic=Topic.TOLD, case=STORY, who=key, data=result.data()))
    for event in recorder.events:
        if isinstance(event, Download) and event.status == 200 and not event.lost:
            data = {"url": event.url, "size": event.size, "sha256": event.sha256}
            recorder.add(Note(topic=Topic.SERVED, case=STORY, who=key, data=data))
