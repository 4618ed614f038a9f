"""Videos behind their links: real files, rendered when they are first asked for."""

from collections.abc import Callable
from functools import partial
from typing import Any
from zlib import crc32

from kling_mock import clock as clocks
from kling_mock.clock import Clock
from kling_mock.core.errors import TaskNotFound
from kling_mock.core.scenarios import Act
from kling_mock.core.tasks import Status, Task, stage
from kling_mock.media.videos import TINY, Videos, VideoSpec
from kling_mock.service.world import World
from kling_mock.store.interface import Account
from kling_mock.web.acts import as_answered, on_the_wire, phrase
from kling_mock.web.http import ApiResponse, Request, kept

_KEPT_BYTES = 64 * 1024 * 1024
"""Two dozen of the longest videos. Tasks with the same frame, size and length share one; to render one anew takes under half a second."""

_PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>{message}</Message></Error>
"""


class Media:
    """Serves videos. A link needs no key; the video and the expiry are signed in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._videos = Videos(_KEPT_BYTES)

    def download(self, request: Request, account_name: str, task_id: str, expires: str, signature: str) -> ApiResponse:
        """`GET /files/ACCOUNT/TASK.mp4`: the whole file; the caller cuts out ranges. An object store's error page where there is none."""
        started = clocks.monotonic()
        account: Account | None = None
        task: Task | None = None
        try:
            account, task, expired = self.world.views.open_link(
                self.world.store, account_name, task_id, request.path, expires, signature
            )
            response = self._expired() if expired else self._opened(account, task, task_id)
            task_id = task.id
        except TaskNotFound as error:
            response = page(404, "NoSuchKey", error.message)
        act = self._act(account, task) if request.method != "HEAD" else None
        if act is not None and account is not None:
            response = self._acted(act, response, account.clock)
        facts = {"task_id": task_id, "scenario": task.scenario if task else None, "fault": response.fault}
        response.note = noting(self.world, account, request, started, **facts)
        response.more.update(_rendering(response))
        return response

    def _opened(self, account: Account, task: Task, name: str) -> ApiResponse:
        if stage(task, account.clock.now()).status is not Status.COMPLETED:
            return page(404, "NoSuchKey", "there is no video yet")
        started = clocks.monotonic()
        more: dict[str, float] = {"video": True}

        def rendered() -> None:
            more["rendered_seconds"] = round(clocks.monotonic() - started, 3)

        spec = self._spec(task, name)
        video = self._videos.video((task.image, task.frame, task.seconds, spec.short_side), spec, rendered)
        headers = [("content-type", self.world.contract.link.content_type)]
        return ApiResponse(200, video, headers, more=more)

    def _expired(self) -> ApiResponse:
        return page(self.world.service_settings.expired_link_status, "AccessDenied", "Request has expired")

    def _spec(self, task: Task, name: str) -> VideoSpec:
        content = self.world.frames.content(task.image, task.frame)
        return VideoSpec(
            seconds=task.seconds,
            short_side=TINY if self.world.settings.videos == "tiny" else task.short_side,
            frame=content,
            width=task.frame.width,
            height=task.frame.height,
            seed=crc32(task.image.encode()),
            tag=task.plan.seed if name == task.id else crc32(name.encode()),
        )

    def _act(self, account: Account | None, task: Task | None) -> Act | None:
        if account is None or task is None:
            return None
        behaviour = self.world.catalogue.behaviour(task.scenario)
        if not any("link" in act.when for act in behaviour.acts):
            return None
        with self.world.store.begin(account) as facts:
            return behaviour.act("link", facts.count(f"link {task.id}"))

    def _acted(self, act: Act, response: ApiResponse, clock: Clock) -> ApiResponse:
        """Return the download as changed by a scenario's act."""
        answer = act.answer
        if answer is None:
            return on_the_wire(act, response, clock)
        status = answer.status or self.world.contract.errors[answer.error or ""].status
        if answer.body is None and status >= 400:
            changed = page(status, phrase(status).replace(" ", ""), phrase(status))
        else:
            changed = ApiResponse(status, (answer.body or "").encode(), [])
        return as_answered(changed, status, answer, clock.now())


def _rendering(response: ApiResponse) -> dict[str, float]:
    """Return how long the video took to render, where this download had to wait for it."""
    return {name: value for name, value in response.more.items() if name == "rendered_seconds"}


def noting(
    world: World, account: Account | None, request: Request, started: float, **facts: Any
) -> Callable[..., None]:
    """Return what writes a download into the journal once it is known how much of it was sent."""
    asked = {"method": request.method, "url": request.url, "request_headers": kept(request.headers)}
    return partial(world.note, account, "download", **asked, seconds=clocks.monotonic() - started, **facts)


def page(status: int, code: str, message: str) -> ApiResponse:
    """Return an error page as an object store sends it in place of a file."""
    return ApiResponse(status, _PAGE.format(code=code, message=message).encode(), [("content-type", "application/xml")])
