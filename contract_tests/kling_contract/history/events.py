"""What happened, in order: the one thing that drivers write, files hold and judges read.

Every event carries `seq` (its place), `at` (the account's clock, Unix seconds), `mono` (wall seconds since the run
began), `who` (the key, hashed) and `case` (the kit's case; empty when it was not the kit that acted). Events are
appended when they end, so `at` and `mono` say when an exchange began and `ended_at`, `ended_mono` when it was over.
"""

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from kling_common.masking import Headers, Mask
from kling_contract.history.labels import Probe, Topic, When

BODY_CAP = 65536
"""Bytes kept of a body; size and sha256 always tell of the whole."""
_LONGEST_KEY = 512
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class HistoryError(ValueError):
    """A file is not a history; the message names the file and the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Bytes of a message: text where they are UTF-8, else base64; `size` and `sha256` are of the whole, as sent."""

    text: str | None = None
    base64: str | None = None
    size: int = 0
    sha256: str = ""
    truncated: bool = False
    unseen: bool = False
    """Whether the recording does not hold it, so that nothing can be said of it."""

    @property
    def content(self) -> bytes:
        """The bytes that were kept."""
        if self.base64 is not None:
            return base64.b64decode(self.base64)
        return (self.text or "").encode()


def body_of(data: bytes, mask: Mask, cap: int = BODY_CAP) -> Body:
    """*data* as it is kept: keys hashed, then capped to *cap* bytes, so that no cap leaves half a key behind."""
    ahead = data[: cap + _LONGEST_KEY]
    text = _utf8(ahead, cut=len(data) > len(ahead))
    size, digest, truncated = len(data), hashlib.sha256(data).hexdigest(), len(data) > cap
    if text is None:
        # One character a byte, so that a key inside bytes that are no text is found as well.
        kept = mask.text(ahead.decode("latin-1")).encode("latin-1")[:cap]
        return Body(base64=base64.b64encode(kept).decode(), size=size, sha256=digest, truncated=truncated)
    masked = mask.text(text)
    kept_text = masked.encode()[:cap].decode(errors="ignore") if truncated else masked
    return Body(text=kept_text, size=size, sha256=digest, truncated=truncated)


def _utf8(data: bytes, *, cut: bool) -> str | None:
    """The text of *data*; a character that the cap has cut in two is left out."""
    for spare in range(4 if cut else 1):
        try:
            return data[: len(data) - spare].decode()
        except UnicodeDecodeError:
            continue
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Headers, in order, and a body."""

    headers: Headers = ()
    body: Body = Body()


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Message):
    """A response."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event has; see the module's docstring."""

    seq: int = 0
    at: float = 0.0
    mono: float = 0.0
    who: str = ""
    case: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span(Event):
    """Something that took time.

    While a manual clock is being moved, a moment is only known to lie between two readings: it began between `since` and `at`, and
    was over between `ended_since` and `ended_at`. Where there is no lower bound, the moment is known.
    """

    since: float | None = None
    ended_since: float | None = None
    ended_at: float = 0.0
    ended_mono: float = 0.0

    @property
    def earliest(self) -> float:
        """The first moment at which it may have begun."""
        return self.at if self.since is None else self.since

    @property
    def ended_earliest(self) -> float:
        """The first moment at which it may have been over."""
        return max(self.earliest, self.ended_at if self.ended_since is None else self.ended_since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange(Span):
    """A request to the service and its answer, or `lost`: why there was none (`cut`, `timeout`, `refused`, ...)."""

    kind: Literal["exchange"] = "exchange"
    method: str
    url: str
    request: Message = Message()
    answer: Response | None = None
    lost: str = ""
    probe: Probe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback(Span):
    """One attempt, as the receiver saw it.

    `url` as requested, with the host that the sender named; `answer` what the receiver gave, None when it cut the
    connection (`ended`: `cut`) or the sender left first (`gone`).
    """

    kind: Literal["callback"] = "callback"
    method: str
    url: str
    request: Message = Message()
    answer: Response | None = None
    ended: Literal["answered", "cut", "gone"] = "answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What a real decoder found in a downloaded file; `error` when it could not open it. Seconds and pixels."""

    duration: float = 0.0
    width: int = 0
    height: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download(Span):
    """A link fetched. `who` is set when a key was sent along; `asked_range` is the Range header, if any."""

    kind: Literal["download"] = "download"
    url: str
    asked_range: str = ""
    status: int | None = None
    headers: Headers = ()
    size: int = 0
    sha256: str = ""
    lost: str = ""
    video: VideoFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockMove(Event):
    """The account's clock was moved or set: `before` and `after` in Unix seconds; `rate` only of a scaled clock."""

    kind: Literal["clock"] = "clock"
    mode: Literal["real", "scaled", "manual"] = "manual"
    rate: float = 1.0
    before: float = 0.0
    after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance(Event):
    """The credits of `who` as read at that moment."""

    kind: Literal["balance"] = "balance"
    remaining: float
    used: float | None = None
    when: When = When.AROUND
    task_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Event):
    """What the kit wants judges and readers to know; see `labels.Topic`."""

    kind: Literal["note"] = "note"
    topic: str
    data: dict[str, Any] = field(default_factory=dict)


AnyEvent = Exchange | Callback | Download | ClockMove | Balance | Note
E = TypeVar("E", bound=AnyEvent)
_ADAPTER: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="kind")])


def to_json(event: AnyEvent) -> dict[str, Any]:
    """*event* as a JSON object, members at their defaults left out."""
    document = _ADAPTER.dump_python(event, mode="json", exclude_defaults=True)
    return {"seq": event.seq, "kind": event.kind, **document}


def from_json(document: Any) -> AnyEvent:
    """The event that `to_json` wrote.

    Raises:
        HistoryError: *document* is no event; the message names the member.
    """
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise HistoryError(f"{place}: {first['msg']}" if place else first["msg"]) from error


def jsonl(events: Iterable[AnyEvent]) -> bytes:
    """*events* as JSON Lines."""
    return b"".join(orjson.dumps(to_json(event), option=orjson.OPT_APPEND_NEWLINE) for event in events)


def events_in(data: bytes, name: str) -> list[AnyEvent]:
    """The events of JSON Lines, in order.

    Raises:
        HistoryError: a line is not JSON or not an event; the message begins with *name* and the line's number.
    """
    events: list[AnyEvent] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            events.append(from_json(orjson.loads(line)))
        except (orjson.JSONDecodeError, HistoryError) as error:
            raise HistoryError(f"{name}:{number}: {error}") from error
    return events


def plain(data: bytes) -> bytes:
    """Return the text of a file as UTF-8 without a byte order mark, whichever encoding its mark names."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace").encode()
    return data


@dataclass(frozen=True, slots=True)
class Moment:
    """The account's clock: it reads *at*, or something between *since* and *at* while it is being moved."""

    at: float
    since: float | None = None


def wall() -> Moment:
    """The machine's own clock, for a target without one to steer."""
    return Moment(time.time())  # noqa: TID251 - the one place where the kit reads the time


class Recorder:
    """Appends events, from any thread, in the order in which they end; keys are hashed before anything is kept.

    clock: gives the account's time; drivers replace it when they steer the target's clock. sink: called with each
    event while the recorder's lock is held, so a file written from it is in order.
    """

    def __init__(
        self,
        *,
        keys: Iterable[str] = (),
        clock: Callable[[], Moment] = wall,
        salt: bytes | None = None,
        sink: Callable[[AnyEvent], None] | None = None,
    ) -> None:
        self.mask = Mask(secrets.token_bytes(16) if salt is None else salt, keys)
        self.clock = clock
        self._sink = sink
        self._began = time.perf_counter()
        self._events: list[AnyEvent] = []
        self._lock = threading.Lock()

    @property
    def events(self) -> tuple[AnyEvent, ...]:
        """What has been recorded so far."""
        with self._lock:
            return tuple(self._events)

    def mono(self) -> float:
        """Wall seconds since the recorder was made."""
        return time.perf_counter() - self._began

    def message(self, headers: Iterable[Sequence[str]], body: bytes) -> Message:
        """A request as it is kept."""
        return Message(headers=self.mask.headers(headers), body=body_of(body, self.mask))

    def answer(self, status: int, headers: Iterable[Sequence[str]], body: bytes) -> Response:
        """A response as it is kept."""
        return Response(status=status, headers=self.mask.headers(headers), body=body_of(body, self.mask))

    def add(self, event: E) -> E:
        """Append *event* with the next seq; `at` and `mono` are filled in where the caller left them at zero."""
        moment = self.clock()
        mono = self.mono()
        fields: dict[str, Any] = {"at": event.at or moment.at, "mono": event.mono or mono}
        if isinstance(event, Exchange | Callback | Download):
            fields |= {"ended_at": event.ended_at or moment.at, "ended_mono": event.ended_mono or mono}
            fields |= {} if event.ended_at else {"ended_since": moment.since}
            fields["url"] = (self.mask.callback if isinstance(event, Callback) else self.mask.text)(event.url)
        if isinstance(event, Callback) and event.answer is not None:
            fields["answer"] = replace(event.answer, headers=self._redirected(event.answer.headers))
        if event.who:
            fields["who"] = self.mask.token(event.who)
        elif isinstance(event, Exchange):
            fields["who"] = self.mask.who(event.request.headers)
        if isinstance(event, Note):
            fields["data"] = self._masked(event.data)
        if isinstance(event, Exchange) and event.probe is not None:
            fields["probe"] = replace(event.probe, value=self._masked(event.probe.value))
        with self._lock:
            kept = replace(event, seq=len(self._events) + 1, **fields)
            self._events.append(kept)
            if self._sink is not None:
                self._sink(kept)
        return kept

    def _redirected(self, headers: Headers) -> Headers:
        """A receiver's redirect is masked as callback URLs are, so that what follows it is still seen to lead there."""
        return tuple(
            (name, self.mask.callback(value) if name.lower() == "location" else value) for name, value in headers
        )

    def note(self, topic: Topic, *, who: str = "", case: str = "", **data: Any) -> Note:
        """Append a note; *data* is searched for keys."""
        return self.add(Note(topic=topic, who=who, case=case, data=data))

    def _masked(self, value: Any) -> Any:
        return orjson.loads(self.mask.text(orjson.dumps(value, default=repr).decode()))
