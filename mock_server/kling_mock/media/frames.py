"""The media of a create: where a picture, a video or a sound comes from, and what the service would find in it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, cast
from urllib.parse import urlsplit

from kling_common.targets import Target
from kling_common.transport import Admit, FetchFailed, TooLarge
from kling_mock.config import ServiceSettings, Settings
from kling_mock.contract import Contract
from kling_mock.core.policies import ImageRules
from kling_mock.core.tasks import Frame
from kling_mock.ids import digest
from kling_mock.media.cache import ByteCache
from kling_mock.media.clips import BadClip, Clip, make, parse_clip, probe
from kling_mock.media.costs import MOST_PIXELS, is_decoded
from kling_mock.media.fetching import Fetching
from kling_mock.media.images import BadImage, Drawing, draw, inspect, is_picture, parse_drawing
from kling_mock.media.probing import probe_apart
from kling_mock.store.interface import StoredFile
from kling_openapi.media import Facts, Limits, complaint

DRAWING_HOST = "image.test"
"""The fake draws what this host is asked for; `.test` never resolves on a real network (RFC 6761)."""

UNSEEN = Frame(1280, 720)
"""Stands for a first frame that was never looked at."""

_WAY_OUT = "; https://image.test/1280x720.jpg is drawn without a network, and --images offline accepts any URL unseen"
_HOW_TO_DRAW = "this host draws https://image.test/WIDTHxHEIGHT.jpg (or .png), such as https://image.test/1280x720.jpg"

_FAULTS = {"image": "image_processing_error", "video": "invalid_parameters", "audio": "invalid_parameters"}
"""The task error code of a medium that cannot be used, by its kind."""

_LARGEST = 2**28
"""Bytes that are read of a medium whose size no page limits."""

_KEPT_BYTES = 128 * 1024 * 1024
_KEPT_VERDICTS = 4096


class Files(Protocol):
    """Where uploaded files are found by their URL."""

    def behind(self, url: str) -> StoredFile | None:
        """Return the living file behind *url*; None for a URL that is not a file's; raises FetchFailed for a dead one."""
        ...


class Pictures(Protocol):
    """Where the processes on one store find the first frames that another of them has judged."""

    def keep_picture(self, digest: str, data: bytes) -> None:
        """Keep one."""
        ...

    def picture(self, digest: str) -> bytes | None:
        """Return one that is still there."""
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
    """A usable picture, video or sound; `unseen` when it was accepted without looking, `seconds` where it has a length."""

    frame: Frame
    unseen: bool = False
    seconds: float | None = None
    facts: Facts = field(init=False, repr=False, compare=False)
    """What a price or an output may depend on."""

    def __post_init__(self) -> None:
        facts = Facts(width=self.frame.width, height=self.frame.height, seconds=self.seconds)
        object.__setattr__(self, "facts", facts)


class Frames:
    """Judges the media of a create, and gives the bytes of a first frame again when the video is made."""

    def __init__(
        self,
        contract: Contract,
        settings: Settings,
        service_settings: ServiceSettings,
        fetcher: Fetcher,
        files: Files,
        pictures: Pictures,
    ) -> None:
        self._offline = settings.images == "offline"
        self._fetching = Fetching(settings, contract.address.internal)
        self._service_settings = service_settings
        self._fetcher = fetcher
        self._files, self._pictures = files, pictures
        self._kept: ByteCache[str, bytes] = ByteCache(_KEPT_BYTES, len)
        self._drawn = lru_cache(_KEPT_VERDICTS)(self._judge_drawing)
        self._made = lru_cache(_KEPT_VERDICTS)(self._judge_clip)
        self._ready: dict[str, list[tuple[Limits, Seen]]] = {}
        self._uploads: dict[tuple[str, Limits], Seen] = {}
        self._unseen = {
            "image": Seen(UNSEEN, unseen=True),
            "": Seen(UNSEEN, unseen=True, seconds=service_settings.offline_seconds),
        }
        self._examples = {url: _example(url) for url in example_images(contract) if _drawing(url) is None}

    def known(self, url: str, limits: Limits) -> Seen | None:
        """Return what is behind *url* where it takes no I/O and no decoder to say."""
        for judged, seen in self._ready.get(url, ()):
            if judged is limits or judged == limits:
                return seen
        if "/uploads/" in url:
            return self._judged_upload(url, limits)
        if self._offline and ".test" not in url and url not in self._examples:
            return self._trusted(limits)
        return None

    def _judged_upload(self, url: str, limits: Limits) -> Seen | None:
        """Return what an upload was found to be by an earlier create, while its bytes are still at hand."""
        try:
            stored = self._files.behind(url)
        except FetchFailed:
            return None  # judging it says so
        seen = self._uploads.get((stored.id, limits)) if stored is not None else None
        return seen if seen is not None and (seen.frame.digest is None or seen.frame.digest in self._kept) else None

    def judge(self, url: str, limits: Limits, near: bool) -> Seen:
        """Return what is behind *url*; may block. *near*: the caller is on this machine.

        Raises:
            BadImage: it cannot be used; `code` is the task error code.
        """
        seen = self.known(url, limits) or self._judge_own(url, limits)
        if seen is not None:
            return seen
        try:
            stored = self._files.behind(url)
            if stored is None and self._offline:
                return self._trusted(limits)
            data = stored.content.read() if stored else self._fetch(url, limits.max_bytes or _LARGEST, near)[0]
        except FetchFailed as error:
            raise BadImage(_FAULTS[limits.kind], f"{error.reason}{_WAY_OUT}") from error
        seen = (
            self._inspected_picture(data, limits) if limits.kind == "image" else _inspected(data, limits, probe_apart)
        )
        if stored is not None:
            if len(self._uploads) >= _KEPT_VERDICTS:
                self._uploads.clear()
            self._uploads[stored.id, limits] = seen
        return seen

    def _inspected_picture(self, data: bytes, limits: Limits) -> Seen:
        found = inspect(data, rules_of(limits))
        name = digest(data)
        if name not in self._kept:
            self._pictures.keep_picture(name, data)
        self._kept.get(name, lambda: data)
        return Seen(Frame(found.width, found.height, name))

    def _judge_own(self, url: str, limits: Limits) -> Seen | None:
        """Return what is behind the URL of something that the fake makes itself; None for any other URL."""
        drawing, clip = self._drawing(url), parse_clip(url)
        if drawing is None and clip is None:
            return None
        seen = self._drawn(drawing, limits) if drawing is not None else self._made(clip, limits)
        if len(self._ready) < _KEPT_VERDICTS:
            self._ready.setdefault(url, []).append((limits, seen))
        return seen

    def _trusted(self, limits: Limits) -> Seen:
        """Return what counts for a URL that is not looked at."""
        return self._unseen["image" if limits.kind == "image" else ""]

    def content(self, url: str, frame: Frame) -> bytes | None:
        """The first frame's bytes, if they are still to be had."""
        drawing = self._drawing(url)
        if drawing is not None:
            return draw(drawing).data
        kept = (self._kept.peek(frame.digest) or self._pictures.picture(frame.digest)) if frame.digest else None
        pixels = frame.width * frame.height
        if kept is None or pixels > MOST_PIXELS or not is_decoded(kept, pixels):
            return None  # gone, or too large to be decoded for a video, which gets a painted frame of its shape
        return kept

    def download(self, url: str, max_bytes: int, near: bool) -> bytes:
        """What stands behind *url*, had the same way as a first frame: drawn, uploaded here, or fetched.

        Raises:
            FetchFailed: it cannot be had; TooLarge where it has more than *max_bytes*.
        """
        drawing, clip = self._drawing(url), parse_clip(url)
        if drawing is not None or clip is not None:
            drawn = draw(drawing) if drawing is not None else make(cast("Clip", clip))
            if drawn.status != 200:
                raise FetchFailed(f"could not be fetched: answered {drawn.status}")
            if len(drawn.data) > max_bytes:
                raise TooLarge(f"is larger than {max_bytes} bytes")
            return drawn.data
        stored = self._files.behind(url)
        if stored is not None:
            return stored.content.read()
        if self._offline:
            raise FetchFailed("is not fetched: the fake runs with --images offline")
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
            timeout=self._service_settings.fetch_timeout_seconds,
            max_redirects=self._service_settings.fetch_redirects,
            check=hops.check,
            admit=hops.admit,
        )
        return data, hops.local

    def _judge_drawing(self, drawing: Drawing, limits: Limits) -> Seen:
        drawn = draw(drawing)
        if drawn.status != 200:
            why = f": {drawing.complaint}" if drawing.complaint else ""
            raise BadImage(_FAULTS[limits.kind], f"could not be fetched: it answered {drawn.status}{why}")
        if limits.kind != "image":
            return _inspected(drawn.data, limits)
        found = inspect(drawn.data, rules_of(limits))
        return Seen(Frame(found.width, found.height))

    def _judge_clip(self, clip: Clip, limits: Limits) -> Seen:
        made = make(clip)
        if made.status != 200:
            why = f": {clip.complaint}" if clip.complaint else ""
            raise BadImage(_FAULTS[limits.kind], f"could not be fetched: it answered {made.status}{why}")
        if limits.kind == "image":
            inspect(made.data, rules_of(limits))  # refuses what is no picture
        return _inspected(made.data, limits)


def rules_of(limits: Limits) -> ImageRules:
    """Return a picture's limits as its inspection takes them."""
    return ImageRules(
        limits.formats,
        limits.max_bytes or _LARGEST,
        limits.min_side_px or 1,
        limits.ratio_min,
        limits.ratio_max,
        limits.max_side_px,
    )


def _inspected(data: bytes, limits: Limits, read: Callable[[bytes, str], Facts] = probe) -> Seen:
    """Return what a video or a sound is; *read* finds that.

    Raises:
        BadImage: it cannot be read, or is beyond its limits.
    """
    try:
        facts = read(data, limits.kind)
    except BadClip as error:
        raise BadImage(_FAULTS[limits.kind], str(error)) from error
    wrong = complaint(limits, facts)
    if wrong is not None:
        raise BadImage(_FAULTS[limits.kind], wrong[1])
    return Seen(Frame(facts.width or 1, facts.height or 1), seconds=facts.seconds)


def example_images(contract: Contract) -> tuple[str, ...]:
    """Return the image URLs that the contract itself gives as examples of a first frame."""
    model = contract.family.own
    pictures = [path for path, limits in model.slots.limits.items() if limits.kind == "image"]
    return tuple(url for path in pictures for url in model.at(".".join(path)).get("examples", ()))


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
