"""Saving a video: without the key, within bounds, and under its final name only when it is whole."""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import urljoin, urlsplit

import requests

from kling_client import mp4
from kling_client.contract import is_loopback
from kling_client.errors import DownloadError, KlingError, LinkExpired, NetworkError, NotAVideo, ResultMissing
from kling_client.lock import sync_folder
from kling_client.retry_after import retry_after
from kling_client.settings import check_seconds, check_whole
from kling_client.tasks import Task
from kling_client.timing import Clock, Sleep
from kling_client.transport import NoCredentials, Timeouts, Web

_GONE = frozenset({403, 404, 410})
_PASSING = frozenset({408, 425, 429})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What stores say of files whose type they do not know.
_UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/mp4"})


Step = Literal["downloading", "saving"]
"""What a download is doing: a link is fetched; a whole video gets its final name."""


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """How a video is fetched.

    max_bytes: the largest video taken. A few seconds of 1080p are far below it; an endless body meets it.
    attempts: how often a link is tried, resumed attempts included.
    first_wait: seconds before the second attempt; doubled before each further one.
    deadline: seconds for all attempts together.
    redirects: how many are followed in one attempt.
    """

    max_bytes: int = 256 << 20
    attempts: int = 5
    first_wait: float = 1.0
    deadline: float = 600.0
    redirects: int = 3

    def __post_init__(self) -> None:
        """Refuse bounds that make no sense.

        Raises:
            BadSetting: a number is out of its range.
        """
        for name, least in (("max_bytes", 1), ("attempts", 1), ("redirects", 0)):
            check_whole(name, getattr(self, name), least)
        check_seconds("deadline", self.deadline)
        check_seconds("first_wait", self.first_wait, zero=True)


class _Again(Exception):
    """The attempt failed in a way that another may mend."""

    def __init__(self, error: KlingError, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait = wait


class Part:
    """The unfinished file next to the final one. Gone when the block ends, unless it was committed.

    Args:
        out: the final name; its folder must exist.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self.path = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
        self.size = 0
        self.total: int | None = None
        self.validator: str | None = None

    def __enter__(self) -> "Part":
        if self._out.exists() and not self._out.is_file():
            raise DownloadError(f"{self._out} is not a regular file")
        self._file: BinaryIO = self.path.open("xb+")
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def begin(self, headers: Mapping[str, str]) -> None:
        """Start from nothing with a full answer: remember its length and what tells its version apart."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0
        plain = not headers.get("Content-Encoding")
        self.total = _whole(headers.get("Content-Length")) if plain else None
        etag = headers.get("ETag", "")
        self.validator = etag if etag.startswith('"') else headers.get("Last-Modified")

    def resuming(self) -> dict[str, str]:
        """The headers that ask for the rest, none when only a new beginning is safe: the length must be known to compare."""
        if not self.size or self.total is None:
            return {}
        condition = {"If-Range": self.validator} if self.validator else {}
        return {"Range": f"bytes={self.size}-", **condition}

    def fits(self, headers: Mapping[str, str]) -> bool:
        """Whether a partial answer is exactly the missing rest of the same file."""
        return headers.get("Content-Range", "") == f"bytes {self.size}-{(self.total or 0) - 1}/{self.total}"

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)
        self.size += len(data)

    def check(self) -> None:
        """Let a video pass. Where no length was declared, only the file's own structure can show that it was cut.

        Raises:
            NotAVideo: it is something else, or cut.
        """
        mp4.check_start(self._file)
        if self.total is None:
            mp4.check_whole(self._file, self.size)

    def commit(self) -> None:
        """Make it the final file, durably.

        Raises:
            DownloadError: the disk holds another length than was received.
            OSError: it cannot be written.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        written = os.fstat(self._file.fileno()).st_size
        if written != self.size:
            raise DownloadError(f"the video cannot be written: {written} of {self.size} bytes are on disk")
        self._file.close()
        self.path.replace(self._out)
        sync_folder(self._out.parent)


@dataclass(frozen=True, slots=True)
class Downloader:
    """Fetches links.

    Args:
        web: what sends; it is given no key here.
        policy: bounds and patience.
        media_type: what the contract says a link serves.
        timeouts: of one attempt; its total is the policy's deadline.
        allow_http: take plain http links of any host, not only of the loopback.
    """

    web: Web
    policy: DownloadPolicy
    media_type: str
    timeouts: Timeouts
    allow_http: bool
    clock: Clock
    sleep: Sleep
    wall: Clock

    def save(self, url: str, out: Path, on_step: Callable[[Step], None] | None = None) -> None:
        """Save what *url* serves as *out*, resuming and repeating as needed. On failure *out* is as it was before.

        Args:
            url: the link.
            out: the file.
            on_step: called with "downloading", and with "saving" once the video is whole.

        Raises:
            LinkExpired: the link is gone.
            NotAVideo: it serves something else.
            DownloadError: it could not be had within the bounds.
        """
        started = self.clock()
        tell = on_step or (lambda _step: None)
        try:
            with Part(out) as part:
                tell("downloading")
                self._fill(part, url, started)
                tell("saving")
                part.commit()
        except OSError as error:
            raise DownloadError(f"cannot write {out}: {error.strerror or error}") from None

    def _fill(self, part: Part, url: str, started: float) -> None:
        """Attempt until *part* is a whole video."""
        for attempt in range(1, self.policy.attempts + 1):
            try:
                self._attempt(part, url, self.policy.deadline - (self.clock() - started))
                return part.check()
            except (_Again, NotAVideo, NetworkError) as failure:
                error = failure.error if isinstance(failure, _Again) else failure
                asked = failure.wait if isinstance(failure, _Again) else None
            if isinstance(error, NotAVideo):
                part.begin({})
            wait = max(self.policy.first_wait * 2 ** (attempt - 1), asked or 0.0)
            left = self.policy.deadline - (self.clock() - started)
            if attempt == self.policy.attempts or wait >= left:
                break
            self.sleep(wait)
        if isinstance(error, DownloadError):
            raise error
        raise DownloadError(f"the video could not be downloaded: {error}")

    def _attempt(self, part: Part, url: str, left: float) -> None:
        """One request, and as much of the body as comes."""
        timeouts = Timeouts(self.timeouts.connect, self.timeouts.read, left).within(left)
        began = self.clock()
        response = self._open(url, part.resuming(), timeouts)
        with response:
            self._judge(response)
            if response.status_code == requests.codes.partial_content:
                if not part.fits(response.headers):
                    part.begin({})
                    raise _Again(DownloadError("the link served another range than was asked for"))
            else:
                part.begin(response.headers)
            self._check_bound(max(part.total or 0, part.size))
            for chunk in self.web.chunks(response, timeouts, began):
                self._check_bound(part.size + len(chunk))
                part.write(chunk)
        if part.total is not None and part.size != part.total:
            raise NetworkError(f"the video was cut after {part.size} of {part.total} bytes")

    def _check_bound(self, size: int) -> None:
        """Let a size within the bound pass."""
        if size > self.policy.max_bytes:
            raise DownloadError(f"the video is larger than {self.policy.max_bytes} bytes")

    def _open(self, url: str, headers: Mapping[str, str], timeouts: Timeouts) -> requests.Response:
        """The first answer that is no redirect."""
        for _hop in range(self.policy.redirects + 1):
            self._check_link(url)
            wanted = {"Accept": "*/*", "Accept-Encoding": "identity", **headers}
            request = requests.Request("GET", url, headers=wanted, auth=NoCredentials())
            response = self.web.send(request, timeouts)
            target = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or not target:
                return response
            response.close()
            previous, url = url, _joined(url, target)
            if not _is_local(previous) and _is_local(url):
                raise DownloadError("the link redirects to this machine; not followed")
        raise DownloadError("the link redirects without end")

    def _check_link(self, url: str) -> None:
        """Let https pass, and plain http where it does not leave this machine or the user said so."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise DownloadError("the link is not a URL") from None
        plain_is_fine = self.allow_http or _is_local(url)
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and plain_is_fine)):
            raise DownloadError(f"not a link to download from: {parts.scheme or 'no scheme'}://{parts.hostname or ''}")

    def _judge(self, response: requests.Response) -> None:
        """Let an answer pass that holds video bytes."""
        status = response.status_code
        if status in _GONE:
            raise LinkExpired(f"the link answers HTTP {status}: it has expired, or was never there")
        if status in _PASSING or status >= requests.codes.server_error:
            asked = retry_after(response.headers, self.wall)
            raise _Again(DownloadError(f"the link answers HTTP {status}"), asked)
        if status == requests.codes.requested_range_not_satisfiable:
            raise _Again(NotAVideo("the link refuses to go on where it was cut"))
        if status not in (requests.codes.ok, requests.codes.partial_content):
            raise DownloadError(f"the link answers HTTP {status}")
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not (kind == self.media_type or kind.startswith("video/") or kind in _UNTYPED):
            raise NotAVideo(f"the link serves {kind}, not a video")


def links_of(task: Task) -> tuple[str, ...]:
    """The links of a completed task.

    Raises:
        ResultMissing: there is none.
    """
    if not task.completed:
        raise ResultMissing(task.id, f"is not completed ({task.status or 'no status'}); wait for it first")
    if not task.results:
        raise ResultMissing(task.id, "is completed, but the service lists no video; ask its support")
    return task.results


def _joined(url: str, target: str) -> str:
    """Where a redirect leads."""
    try:
        return urljoin(url, target)
    except ValueError:
        raise DownloadError("the link redirects to something that is not a URL") from None


def _is_local(url: str) -> bool:
    """Whether *url* points to this machine."""
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


def _whole(value: Any) -> int | None:
    """A Content-Length as a number, None where it is not JSON."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None
