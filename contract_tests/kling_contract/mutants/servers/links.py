"""Servers that break rules of the result links (SK)."""

from dataclasses import replace
from urllib.parse import urlsplit

from kling_contract.mutants.messages import DROP, Known, Memory, Request, Response, tasks_in
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
    setting,
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
_MARK = "&told"
_OTHER = [{"video_url": "https://files.example.com/other.mp4", "duration": 5}]


def _marked(task: Task, _: Known) -> None:
    task["results"] = [f"{link}{_MARK}" for link in task["results"]]


def _is_marked(ask: Request) -> bool:
    return is_file(ask) and ask.target.endswith(_MARK)


def _knows_links(*, theirs: bool = False) -> tuple[Switch, ...]:
    """Whatever the query of a link, the file comes; *theirs*: where it is the query of another link."""

    def on_response(ask: Request, answer: Response, memory: Memory) -> Response:
        for task in tasks_in(ask, answer):
            for link in task.get("results") or ():
                parts = urlsplit(link)
                memory.account("links").kept[parts.path] = f"{parts.path}?{parts.query}"
        return answer

    def on_request(ask: Request, memory: Memory) -> Request:
        links = memory.account("links").kept
        known = links.get(ask.path) if is_file(ask) else None
        query = ask.target.removeprefix(ask.path)
        right = not theirs or (bool(query) and any(link.endswith(query) for link in links.values()))
        return replace(ask, target=known) if known and right else ask

    return Switch(on_response=on_response), Switch(on_request=on_request)


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
    broken("SK-11", "other-video-in-callbacks", "tells of another video than its queries show",
           shows(_marked, at=(CALLBACK,), when=is_("completed")),
           asks(_is_marked, lambda ask: replace(ask, target=ask.target.removesuffix(_MARK))),
           answers(lambda ask, answer: _is_marked(ask) and answer.accepted, padded)),
    broken("SK-12", "signature-ignored", "serves a signed link whatever its signature", *_knows_links()),
    broken("SK-12", "signature-of-another-link", "serves a signed link with the signature of another one", *_knows_links(theirs=True)),
    broken("SK-13", "part-of-the-next", "says that a part begins one byte later than it was asked to",
           answers(lambda ask, answer: is_file(ask) and answer.status == 206, header("Content-Range", "bytes 1-100/100000"))),
    broken("SK-14", "other-result-data", "names another video in result_data than in results",
           shows(setting(result_data=_OTHER), at=_BOTH, when=is_("completed"))),
)  # fmt: skip
