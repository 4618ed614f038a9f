"""The words that drivers label events with and judges read: one vocabulary, in one place.

Most judges need no label: what is wrong with a create is read from its body and the contract. A label says what a
history cannot show by itself: that a key is unknown on purpose, what an image really is, that the kit has waited long
enough. `docs/kit.md` lists which rule wants which.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Expect(StrEnum):
    """What the contract makes of a probe."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNAUTHORIZED = "unauthorized"
    NO_SUCH_TASK = "no-such-task"
    NO_BALANCE = "no-balance"
    NO_ACCESS = "no-access"
    FAULT = "fault"
    """The driver forced a server fault (a scenario), so no answer of this exchange can be held against the server."""


class Receiver(StrEnum):
    """How the kit's receiver treats the callbacks of a task."""

    ANSWERS = "answers"
    REFUSED_FIRST = "refused-first"
    """Nothing listened at the first attempt, so that attempt left no event."""
    REBINDS = "rebinds"
    """The host's name leads to a private address at delivery time: no attempt may arrive."""


class Topic(StrEnum):
    """What a note says; its data holds the named members."""

    RUN = "run"
    """target, mode, features, seed, contract: once, at the start."""
    CANCELLED = "cancelled"
    """task_id: the kit had the task cancelled through the control protocol before it was terminal."""
    RESENT = "resent"
    """task_id: the kit asked for one more attempt, so one more is right."""
    SETTLED = "settled"
    """task_id: the receiver was up since before the create, and whatever the task is owed has had time to arrive."""
    NOISE = "noise"
    """seconds: how late the kit's own machine was, measured in this run, in wall seconds."""
    NOT_RUN = "not-run"
    """rule, reason: a driver could not probe the rule."""
    UNTESTABLE = "untestable"
    """rule, reason: a probe was tried and broke on the way, so that nothing can be said."""
    KIT_ERROR = "kit-error"
    """rule (may be empty), reason: the kit itself failed."""
    MISSING_FEATURE = "missing-feature"
    """feature, reason: the server declares a feature and lacks it."""
    WITHHELD = "withheld"
    """reason, exchange: the guard answered that exchange in the service's place, because it could have passed a cap."""
    STOPPED = "stopped"
    """reason: a cap of money or time ended the run."""
    CASE = "case"
    """One story of the client lab, before anything happened: story, scenario, right (what is right at its end), request,
    base_url, `elsewhere` (origins that are not the service's), deadline and min_poll (seconds that the client was given)."""
    TOLD = "told"
    """What one process of a client said and left behind, see `lab.results`; once for each process of a case."""
    ELSEWHERE = "elsewhere"
    """untrusted, connections: how often a client connected to the server whose certificate is not trusted."""
    SERVED = "served"
    """task_id, url, size, sha256: what a link serves when nothing is wrong, fetched by the kit after the case."""


class When(StrEnum):
    """Why a balance was read."""

    AROUND = "around"
    ON_RECEIPT = "on-receipt"
    """While a callback of `task_id` was being received, before it was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What the first frame of a create really is, since a history holds only its URL.

    width and height in pixels, size in bytes; format as the contract spells it (`jpeg`, `png`), else `gif`, `webp`.
    fault: empty, `truncated`, `not-an-image` or `unreachable`. misnamed: the URL's suffix lies about the format.
    """

    width: int = 0
    height: int = 0
    size: int = 0
    format: str = ""
    fault: str = ""
    misnamed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumFacts:
    """What one picture, video or sound of a create really is. param: the member that names it, `image_urls[0]`.

    size in bytes, width and height in pixels, fps in frames a second; zero and empty where it is not known or its kind has none.
    fault: empty, `truncated` or `unreachable`.
    """

    param: str
    format: str = ""
    size: int = 0
    width: int = 0
    height: int = 0
    seconds: float = 0
    fps: float = 0
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Why the kit sent an exchange.

    rules: the ids it was sent for. field and value: what was bent, for the report. group: exchanges that belong
    together (a burst, a pair). expected: how many of the group should be accepted (SB-09). scenario: the story that
    the driver queued for this create. endless: the task rightly does not end; read_paced: each read moves it on.
    receiver: how callbacks of this create are treated. image: the first frame of the document's own model; media: what is known
    of the pictures, videos and sounds of a model that is held to its file.
    """

    rules: tuple[str, ...] = ()
    expect: Expect | None = None
    field: str = ""
    value: Any = None
    group: str = ""
    expected: int | None = None
    scenario: str = ""
    endless: bool = False
    read_paced: bool = False
    receiver: Receiver | None = None
    image: ImageFacts | None = None
    media: tuple[MediumFacts, ...] = ()
