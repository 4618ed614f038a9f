"""First frames: where a create's image comes from, and what the service would find in it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from kling_common.targets import Target
from kling_common.transport import Admit, FetchFailed, TooLarge
from kling_mock.config import Choices, Settings
from kling_mock.contract import Contract
from kling_mock.core.tasks import Frame
from kling_mock.ids import digest
from kling_mock.media.cache import ByteCache
from kling_mock.media.fetching import Fetching
from kling_mock.media.images import BadImage, Drawing, draw, inspect, is_picture, parse_drawing

DRAWING_HOST = "image.test"
"""The fake draws what this host is asked for; `.test` never resolves on a real network (RFC 6761)."""

UNSEEN = Frame(1280, 720)
"""Stands for a first frame that was never looked at."""

_WAY_OUT = "; https://image.test/1280x720.jpg is drawn without a network, and --images offline accepts any URL unseen"
_HOW_TO_DRAW = "this host draws https://image.test/WIDTHxHEIGHT.jpg (or .png), such as https://image.test/1280x720.jpg"

_KEPT_BYTES = 128 * 1024 * 1024
_KEPT_VERDICTS = 4096


class Files(Protocol):
    """Where uploaded files are found by their URL."""

    def content(self, url: str) -> bytes | None:
        """Bytes of the living file behind *url*; None for a URL that is not a file's; raises FetchFailed for a dead one."""
        ...


class Fetcher(Protocol):
    """The part of the transport that gets a file."""

    def fetch(
        self,
        url: str,
        *,
        max_bytes: int,
        timeout: float,
        max_redirects: int,
        check: Callable[[str], Target],
        admit: Admit,
    ) -> bytes:
        """Bytes behind *url*; raises FetchFailed, or TooLarge as one of its kind."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A usable first frame; `unseen` when it was taken on trust."""

    frame: Frame
    unseen: bool = False


class Frames:
    """Judges the first frame of a create, and gives its bytes again when the video is made."""

    def __init__(
        self, contract: Contract, settings: Settings, choices: Choices, fetcher: Fetcher, files: Files
    ) -> None:
        self.rules = contract.image
        self._offline = settings.images == "offline"
        self._fetching = Fetching(settings, contract.address.internal)
        self._choices = choices
        self._fetcher = fetcher
        self._files = files
        self._kept: ByteCache[str, bytes] = ByteCache(_KEPT_BYTES, len)
        self._drawn = lru_cache(_KEPT_VERDICTS)(self._judge_drawing)
        self._ready: dict[str, Seen] = {}
        self._examples = {url: _example(url) for url in example_images(contract) if _drawing(url) is None}

    def known(self, url: str) -> Seen | None:
        """Return the first frame behind *url* where it takes no I/O and no decoder to say."""
        return self._ready.get(url)

    def judge(self, url: str, near: bool) -> Seen:
        """Return the first frame behind *url*; may block. *near*: the caller is on this machine.

        Raises:
            BadImage: it cannot be used; `code` is the task error code.
        """
        seen = self._ready.get(url)
        if seen is not None:
            return seen
        drawing = self._drawing(url)
        if drawing is not None:
            seen = self._drawn(drawing)
            if len(self._ready) < _KEPT_VERDICTS:
                self._ready[url] = seen
            return seen
        try:
            data = self._files.content(url)
            if data is None and self._offline:
                return Seen(UNSEEN, unseen=True)
            data = self._fetch(url, self.rules.max_bytes, near)[0] if data is None else data
        except FetchFailed as error:
            raise BadImage("image_processing_error", f"{error.reason}{_WAY_OUT}") from error
        found = inspect(data, self.rules)
        name = digest(data)
        self._kept.get(name, lambda: data)
        return Seen(Frame(found.width, found.height, name))

    def content(self, url: str, frame: Frame) -> bytes | None:
        """The first frame's bytes, if they are still to be had."""
        drawing = self._drawing(url)
        if drawing is not None:
            return draw(drawing).data
        return self._kept.peek(frame.digest) if frame.digest else None

    def download(self, url: str, max_bytes: int, near: bool) -> bytes:
        """What stands behind *url*, had the same way as a first frame: drawn, uploaded here, or fetched.

        Raises:
            FetchFailed: it cannot be had; TooLarge where it has more than *max_bytes*.
        """
        drawing = self._drawing(url)
        if drawing is not None:
            drawn = draw(drawing)
            if drawn.status != 200:
                raise FetchFailed(f"could not be fetched: answered {drawn.status}")
            if len(drawn.data) > max_bytes:
                raise TooLarge(f"is larger than {max_bytes} bytes")
            return drawn.data
        data = self._files.content(url)
        if data is None and self._offline:
            raise FetchFailed("is not fetched: the fake runs with --images offline")
        if data is not None:
            return data
        data, local = self._fetch(url, max_bytes, near)
        if local and not is_picture(data):
            raise FetchFailed("is not a picture; from a private network only pictures are taken")
        return data

    def _drawing(self, url: str) -> Drawing | None:
        """Return what to draw for *url*: a picture of the drawing host, or of the contract's own examples."""
        return self._examples.get(url) or _drawing(url)

    def _fetch(self, url: str, max_bytes: int, near: bool) -> tuple[bytes, bool]:
        """Return the bytes behind *url*, and whether they come from a private network."""
        hops = self._fetching.hops(near)
        data = self._fetcher.fetch(
            url,
            max_bytes=max_bytes,
            timeout=self._choices.fetch_timeout_seconds,
            max_redirects=self._choices.fetch_redirects,
            check=hops.check,
            admit=hops.admit,
        )
        return data, hops.local

    def _judge_drawing(self, drawing: Drawing) -> Seen:
        drawn = draw(drawing)
        if drawn.status != 200:
            why = f": {drawing.complaint}" if drawing.complaint else ""
            raise BadImage("image_processing_error", f"could not be fetched: it answered {drawn.status}{why}")
        found = inspect(drawn.data, self.rules)
        return Seen(Frame(found.width, found.height))


def example_images(contract: Contract) -> tuple[str, ...]:
    """Return the image URLs that the contract itself gives as examples of a first frame."""
    return tuple(contract.schemas["CreateVideo"]["properties"]["image_start"].get("examples", ()))


def _example(url: str) -> Drawing:
    """Return the drawing behind an image URL of the contract's own examples, which works on a machine without a network."""
    return Drawing(1280, 720, "png" if urlsplit(url).path.lower().endswith(".png") else "jpeg")


def _drawing(url: str) -> Drawing | None:
    if DRAWING_HOST not in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that hold no address; fetching it says so
        return None
    if parts.hostname != DRAWING_HOST:
        return None
    return parse_drawing(parts.path, parts.query) or Drawing(0, 0, "", complaint=_HOW_TO_DRAW)
