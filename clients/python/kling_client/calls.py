"""The calls of one account: create, read, wait, download, upload."""

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

from requests.adapters import BaseAdapter

from kling_client import timing
from kling_client.contract import Contract, contract_of, shipped
from kling_client.creation import Creation
from kling_client.download import Downloader, DownloadPolicy, Step, links_of
from kling_client.errors import (
    ApiError,
    KlingError,
    LinkExpired,
    NetworkError,
    RateLimited,
    RequestInvalid,
    ServerError,
    TaskFailed,
)
from kling_client.fields import with_picture
from kling_client.http import Answer, Api
from kling_client.images import check_image, is_url
from kling_client.polling import Pause, PollPolicy, Wait
from kling_client.settings import check_whole
from kling_client.tasks import Task, is_usable_id, read_task
from kling_client.timing import Clock, Sleep
from kling_client.transport import Timeouts, Web
from kling_common import VERSION


class Calls:
    """What can be done with one account; `Client` adds all of it in one.

    Args:
        api_key: else KLING_API_KEY, else EVOLINK_API_KEY.
        base_url: else KLING_BASE_URL, else EVOLINK_BASE_URL, else the contract's server.
        files_base_url: where files are uploaded, else KLING_FILES_BASE_URL, else the base URL. It gets the key too.
        allow_http: take plain http for hosts other than this machine.
        poll: how to poll.
        download: the bounds of a download.
        timeouts: of one call.
        repeat_lost_create: send a create whose reply was lost, or was a 5xx, once more with the same Idempotency-Key. Off,
            because no document says that the service honours the key (grade C).
        create_attempts: how often a create is sent while it is answered 429; each time with the same key.
        user_agent: how this program names itself.
        transport, clock, sleep, wall, dice: what carries requests, monotonic seconds, waiting, Unix seconds, jitter;
            replaced in tests, so that a story of an hour runs in a millisecond.
        contract: the service's contract, else the one shipped, for *model*.
        model: another model of the family than kling-v3-turbo-image-to-video; its file in openapi/models says what a create takes.

    Raises:
        ConfigError: key or URL are missing or cannot be used.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        files_base_url: str | None = None,
        allow_http: bool = False,
        poll: PollPolicy | None = None,
        download: DownloadPolicy | None = None,
        timeouts: Timeouts | None = None,
        repeat_lost_create: bool = False,
        create_attempts: int = 5,
        user_agent: str | None = None,
        transport: BaseAdapter | None = None,
        clock: Clock = timing.monotonic,
        sleep: Sleep = timing.sleep,
        wall: Clock = timing.wall,
        dice: Random | None = None,
        contract: Contract | None = None,
        model: str | None = None,
    ) -> None:
        self.contract = contract or (contract_of(model) if model else shipped())
        self.poll = poll or PollPolicy().following(self.contract.polling)
        self.timeouts = timeouts or Timeouts()
        self.clock, self.sleep = clock, sleep
        self._dice = dice or timing.dice()
        self._repeats = 1 if repeat_lost_create else 0
        self._create_attempts = check_whole("create_attempts", create_attempts, 1)
        base = base_url or _environment("BASE_URL") or self.contract.base_url
        files = files_base_url or os.environ.get("KLING_FILES_BASE_URL") or base
        key = api_key or _environment("API_KEY") or ""
        web = Web(transport, user_agent or _user_agent(), clock)
        self._api = Api(base, key, web, clock=clock, wall=wall, allow_http=allow_http)
        self._files = Api(files, key, web, clock=clock, wall=wall, allow_http=allow_http)
        self._downloader = Downloader(
            web,
            download or DownloadPolicy(deadline=self.poll.deadline, first_wait=min(1.0, self.poll.min_poll)),
            media_type=self.contract.link["content_type"],
            timeouts=self.timeouts,
            allow_http=allow_http,
            clock=clock,
            sleep=sleep,
            wall=wall,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r}, api_key=***)"

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return self._api.base_url

    @property
    def repeats_lost_create(self) -> bool:
        """Whether this client may send a lost create again with the same Idempotency-Key."""
        return self._repeats > 0

    def hide(self, text: str) -> str:
        """*text* with the API key blotted out, for whoever prints what a server said."""
        return self._api.bearer.hide(text)

    def request(
        self,
        image_start: str | None,
        *,
        prompt: str | None = None,
        quality: str | None = None,
        duration: int | None = None,
        callback_url: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The body of a create, checked against the contract. What is None is left out, so the service's defaults hold.

        Args:
            image_start: URL of the first frame; of another model its first picture, None where there is none.
            extra: further fields, by their names in the API.

        Raises:
            RequestInvalid: the contract forbids it; `param` names the field.
        """
        named = {"prompt": prompt, "quality": quality, "duration": duration, "callback_url": callback_url}
        body = {"model": self.contract.model, **(extra or {})}
        if self.contract.spec is None:
            body = {"model": self.contract.model, "image_start": image_start, **(extra or {})}
        elif image_start is not None:
            body = with_picture(self.contract.spec, body, image_start)
        body |= {name: value for name, value in named.items() if value is not None}
        self.contract.check_create(body)
        return body

    def create(
        self, image: str | os.PathLike[str] | None, *, idempotency_key: str | None = None, **wishes: Any
    ) -> Task:
        """Create a task. It costs credits; it is never sent twice unless that is safe (see `send_create`).

        Args:
            image: URL of the first frame, or a local file, which is checked and uploaded first.
            idempotency_key: else a new one.
            wishes: prompt, quality, duration, callback_url, extra; as `request` takes them.

        Raises:
            RequestInvalid: the contract forbids it; nothing was sent.
            ApiError: the service refused it; nothing was created.
            NetworkError: nothing was sent.
            CreateOutcomeUnknown: it may have been accepted.
        """
        key = idempotency_key or self.new_idempotency_key()
        body = self.request(self.frame_url(image, wishes), **wishes)
        return self.send_create(body, key, started=self.clock())

    def frame_url(self, image: str | os.PathLike[str] | None, wishes: Mapping[str, Any]) -> str | None:
        """The URL of a first frame. A local file is uploaded, once everything that can be checked before has been.

        Raises:
            RequestInvalid: file or wishes break the contract; nothing was sent.
        """
        if image is None or is_url(image):
            return image if image is None else os.fspath(image)
        check_image(Path(image), self.contract.image)
        self.request(f"{self.contract.base_url}/first-frame", **wishes)
        return self.upload(image)

    def new_idempotency_key(self) -> str:
        """A random Idempotency-Key, as the contract wants it."""
        key = f"kling-{secrets.token_hex(16)}"
        self.contract.check_idempotency_key(key)
        return key

    def send_create(self, body: Mapping[str, Any], idempotency_key: str, *, started: float) -> Task:
        """Send a create.

        429 is waited out within bounds. A lost reply or a 5xx is repeated once with the same Idempotency-Key, if the client
        was asked to; otherwise, and afterwards, its outcome is not known.

        Args:
            body: as `request` made it.
            idempotency_key: of this one request of the user.
            started: when the deadline began to run.

        Raises:
            ApiError, NetworkError, CreateOutcomeUnknown, RequestInvalid: as `create`.
        """
        self.contract.check_create(body)
        self.contract.check_idempotency_key(idempotency_key)
        sending = Creation(
            lambda left: self._post_create(body, idempotency_key, left),
            idempotency_key,
            self.poll,
            clock=self.clock,
            sleep=self.sleep,
            dice=self._dice,
            repeats=self._repeats,
            attempts=self._create_attempts,
        )
        return sending.send(started)

    def get(self, task_id: str) -> Task:
        """Read a task, once.

        Raises:
            ApiError: among them NotFound, AuthError, ServerError (also for an answer that makes no sense).
            NetworkError: no answer.
        """
        return self._read(task_id, self.timeouts.total)

    def wait(
        self,
        task: Task | str,
        *,
        fresh: bool | None = None,
        started: float | None = None,
        pause: Pause | None = None,
        on_change: Callable[[Task], None] | None = None,
        on_trouble: Callable[[KlingError, float], None] | None = None,
    ) -> Task:
        """Wait until a task is completed.

        Args:
            task: as `create` gave it, or its id.
            fresh: it was just created, so a first 404 is not believed; else true for a Task, false for an id.
            started: when the deadline began to run; else now.
            pause, on_change, on_trouble: see `polling.Wait`.

        Raises:
            TaskFailed: it failed or was cancelled.
            GaveUp: the deadline passed; it may still be running.
            ApiError: it cannot be read: no such task, key refused.
        """
        last = task if isinstance(task, Task) else None
        task_id = last.id if last else str(task)
        if last is None or not last.finished:
            waiting = Wait(
                self._read,
                self.poll,
                clock=self.clock,
                sleep=self.sleep,
                dice=self._dice,
                pause=pause,
                on_change=on_change,
                on_trouble=on_trouble,
            )
            began = self.clock() if started is None else started
            known = last is not None if fresh is None else fresh
            last = waiting.until_finished(task_id, started=began, fresh=known, read_now=isinstance(task, str))
        return self._completed(last)

    def download(
        self, source: Task | str, out: str | os.PathLike[str], *, on_step: Callable[[Step], None] | None = None
    ) -> tuple[Path, ...]:
        """Save a completed task's videos, or what one link serves, without the API key.

        Args:
            source: a completed task, whose links are read anew, once, if they have expired; or a link.
            out: the file. A second video goes to NAME-2, and so on.
            on_step: called for each video with "downloading", then with "saving" once it is whole.

        Raises:
            ResultMissing: the task lists no usable link, or is not completed.
            DownloadError: a video could not be saved; *out* is as it was before.
        """
        path = Path(out)
        if isinstance(source, str):
            self._downloader.save(source, path, on_step)
            return (path,)
        saved: list[Path] = []
        links = links_of(self._completed(source))
        refreshed = False
        while len(saved) < len(links):
            target = path if not saved else path.with_stem(f"{path.stem}-{len(saved) + 1}")
            try:
                self._downloader.save(links[len(saved)], target, on_step)
            except LinkExpired:
                if refreshed:
                    raise
                links, refreshed = links_of(self.wait(source.id, fresh=False)), True
                continue
            saved.append(target)
        return tuple(saved)

    def upload(self, path: str | os.PathLike[str]) -> str:
        """Upload a local first frame and give back its URL. Checked against the contract's image limits first.

        Raises:
            RequestInvalid: it is no image that the contract takes; nothing was sent.
            ApiError, NetworkError: it was not taken.
        """
        file = Path(path)
        media_type = check_image(file, self.contract.image)
        answer = self._upload(file, media_type, attempts=3)
        data = answer.body.get("data")
        url = data.get("file_url") if isinstance(data, dict) else None
        if not isinstance(url, str) or not url:
            raise ServerError("the upload was answered without a file_url", status=200)
        return url

    def _upload(self, file: Path, media_type: str, attempts: int) -> Answer:
        """Send a file, again if need be: an upload costs nothing, and a spare copy is forgotten by itself."""
        timeouts = Timeouts(self.timeouts.connect, self.timeouts.total, self.timeouts.total)
        content = file.read_bytes()
        while True:
            files = {"file": (file.name, content, media_type)}
            attempts -= 1
            try:
                return self._files.call("POST", self.contract.path("uploadStream"), timeouts, files=files)
            except (RateLimited, ServerError, NetworkError) as error:
                asked = error.retry_after if isinstance(error, ApiError) else None
                wait = max(self.poll.min_poll, asked or 0.0)
                if attempts <= 0 or wait >= self.poll.deadline:
                    raise
                self.sleep(wait)

    def credits(self) -> Mapping[str, Any]:
        """The balance, as the service says it: `token` and `user`, each with remaining and used credits.

        Raises:
            ApiError, NetworkError: it cannot be read.
        """
        answer = self._api.call("GET", self.contract.path("getCredits"), self.timeouts)
        data = answer.body.get("data")
        if not isinstance(data, dict):
            raise ServerError("the answer has no balance", status=200)
        return data

    def _read(self, task_id: str, left: float) -> Task:
        """One read of a task."""
        if not is_usable_id(task_id):
            raise RequestInvalid("that is no task id", param="task_id")
        path = self.contract.path("getTask").replace("{task_id}", quote(task_id, safe=""))
        return self._task(self._api.call("GET", path, self.timeouts.within(left)), task_id)

    def _post_create(self, body: Mapping[str, Any], idempotency_key: str, left: float) -> Task:
        """One create, sent once, in at most *left* seconds."""
        headers = {"Idempotency-Key": idempotency_key}
        path = self.contract.path("createVideo")
        timeouts = self.timeouts.within(left)
        return self._task(self._api.call("POST", path, timeouts, body=body, headers=headers, fresh=True))

    def _task(self, answer: Answer, asked: str | None = None) -> Task:
        """The task in *answer*."""
        try:
            return read_task(answer.body, self.contract.statuses, asked)
        except ValueError as error:
            raise ServerError(str(error), status=200) from None

    def _completed(self, task: Task) -> Task:
        """*task*, if it has a video."""
        if not task.failed:
            return task
        code = self.hide(task.error.code) if task.error and task.error.code else None
        message = self.hide(task.error.message) if task.error and task.error.message else None
        raise TaskFailed(task.id, code, message, retryable=self.contract.retryable(code))


def _environment(name: str) -> str | None:
    """A setting from the environment; this client's own variable first."""
    return os.environ.get(f"KLING_{name}") or os.environ.get(f"EVOLINK_{name}")


def _user_agent() -> str:
    """Return the name of this program, with its version."""
    return f"kling-client/{VERSION}"
