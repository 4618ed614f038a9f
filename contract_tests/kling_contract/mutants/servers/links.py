"""Servers that break rules of the result links (SK)."""

from dataclasses import replace
from urllib.parse import urlsplit

from kling_contract.mutants.messages import DROP, Known, Memory, Request, Response
from kling_contract.mutants.mutant import Switch, broken
from kling_contract.mutants.switches import (
    CALLBACK,
    READ,
    Task,
    alters,
    answers,
    asks,
    chosen,
    follows,
    header,
    is_,
    is_file,
    padded,
    shows,
    status,
    turns,
)  # fmt: skip

_LIFETIME = "components/schemas/CompletedTask/properties/results/x-link/lifetime_seconds"


def _relative(task: Task, _: Known) -> None:
    task["results"] = [urlsplit(link).path for link in task["results"]]


def _elsewhere(task: Task, _: Known) -> None:
    task["results"] = [f"http://files.example.com{urlsplit(link).path}" for link in task["results"]]


def _keyed(ask: Request, _: Memory) -> Request | Response:
    locked = is_file(ask) and not ask.key
    return Response(401, body=b'{"error": "sign in"}') if locked else ask


def _video(ask: Request, answer: Response) -> bool:
    return is_file(ask) and answer.accepted


def _expired(ask: Request, answer: Response) -> bool:
    return is_file(ask) and answer.status == 403


_BOTH = (READ, CALLBACK)

MUTANTS = (
    broken("SK-01", "relative-links", "gives links without an origin", shows(_relative, at=_BOTH, when=is_("completed"))),
    broken("SK-01", "plain-http-links", "gives links without TLS", shows(_elsewhere, at=_BOTH, when=is_("completed"))),
    broken("SK-02", "octet-stream", "serves videos as octets", answers(_video, header("Content-Type", "application/octet-stream"))),
    broken("SK-02", "page-for-a-video", "serves a page where the video should be", follows("link-error-page")),
    broken("SK-02", "half-a-video", "serves the first half of a video",
           answers(_video, lambda answer: replace(answer, body=answer.body[: len(answer.body) // 2]))),
    broken("SK-03", "links-need-the-key", "asks for the key at result links", Switch(on_request=_keyed)),
    broken("SK-04", "an-hour-short", "lets links die an hour early", alters(_LIFETIME, lambda seconds: seconds - 3600)),
    broken("SK-05", "links-of-two-days", "lets links live on", alters(_LIFETIME, lambda seconds: seconds * 4)),
    broken("SK-06", "expired-is-500", "breaks on an expired link", answers(_expired, status(500))),
    broken("SK-06", "expired-redirects", "leads an expired link to the front page",
           answers(_expired, lambda answer: replace(answer, status=302).headed("Location", "/"))),
    broken("SK-07", "tasks-die-with-links", "forgets tasks an hour after their links", chosen(task_retention_seconds=90000)),
    broken("SK-08", "range-ignored", "ignores Range and does not say so",
           asks(is_file, lambda ask: ask.headed("Range", DROP)), answers(_video, header("Accept-Ranges", DROP))),
    broken("SK-09", "other-bytes", "serves other bytes each time", answers(_video, padded)),
    broken("SK-10", "never-1080p", "renders 1080p as 720p",
           turns("quality", lambda _: "720p", lambda name: name == "1080p"), scripts=("tiers",)),
)  # fmt: skip
