"""What a client says and leaves behind, whoever drove it; and what it is asked for."""

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from kling_contract.lab.stories import Story
from kling_contract.rules.case_facts import Flow, Need

KEPT = 4000
"""Characters of each output that stand in the history: the end of it, where the last word is."""
CANNOT = 77
"""The exit code of a client that cannot do a case."""
MOST_FILES = 50
_FILE_CAP = 1 << 20

End = Literal["itself", "deadline", "flood", "on purpose", "never began"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One request that a client is to carry out.

    case: the story's name; job: 1, or which of several that run at once or after each other. request: members of the
    create besides model and image, and `image_start`. folder: the client's working folder, its own. out: the file for the
    video. environment: all that the client finds in its environment, its key and addresses included. min_poll and deadline:
    seconds that it is given, between reads and until it gives up; grace: seconds more that it may need; limit: seconds
    after which it is ended by force. stop: set
    when it is to be killed at once. up: set once it has called or ended, so that it needs no processor to start any more.
    """

    case: str
    job: int
    base_url: str
    api_key: str
    request: Mapping[str, Any]
    folder: Path
    out: Path
    min_poll: float
    deadline: float
    grace: float
    limit: float = 0.0
    needs: tuple[Need, ...] = ()
    flow: Flow = "once"
    callback_url: str = ""
    model: str = ""
    callback_port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    first_call: Callable[[], float | None] = lambda: None
    """When the client first called, in Unix seconds: on a busy machine a start may take long, and no client can count what
    was before it."""
    stop: threading.Event = field(default_factory=threading.Event)
    up: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    """Set when the client is started."""
    together: threading.Event | None = None
    """The `begun` of another that it starts together with, in place of a turn of its own."""
    turn: tuple[float, ...] = ()
    """Who starts first, where several wait: the least."""
    speaks: bool = False
    """Whether the adapter says where its client listens."""
    heard: threading.Event = field(default_factory=threading.Event)
    """Set by an adapter when the client has said where it listens; `listening` then holds it."""
    listening: list[str] = field(default_factory=list)

    @property
    def image(self) -> str:
        """The first frame's URL."""
        return str(self.request["image_start"])


@dataclass(slots=True, kw_only=True)
class RunResult:
    """What one process, or one case of an adapter, came to. Texts may still hold the key; the history masks them.

    exit: None when there was no process of its own, or a signal ended it. ended: by whom. said: the result file, or the
    adapter's `done`. leaks: places where the key stood in the open. files: what stood in the folder at the end. places:
    for each task id of the case, where it can still be read. children: processes that it left running.
    cannot: why it could not do the case; broken: how the adapter broke its protocol.
    """

    job: int = 1
    exit: int | None = None
    signal: int | None = None
    ended: End = "itself"
    seconds: float = 0.0
    stdout: str = ""
    stderr: str = ""
    output_bytes: int = 0
    said: dict[str, Any] | None = None
    leaks: list[str] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    places: dict[str, list[str]] = field(default_factory=dict)
    children: int = 0
    cannot: str = ""
    broken: str = ""

    def data(self) -> dict[str, Any]:
        """As it stands in a note."""
        return asdict(self)


class Adapter(Protocol):
    """Drives a client. `run` is called from several threads at once, at most `parallel` of them."""

    parallel: int
    speaks: bool
    """Whether it says, through the request, where its client listens for callbacks."""
    min_poll: float | None
    """Seconds between reads that its client keeps by its own word; None where it does not say."""

    bounded: bool
    """Whether its client takes the deadline that it is given for certain."""
    takes: frozenset[str]
    """The members of a request that its client takes for certain."""

    def unable(self, story: Story) -> str:
        """Why the client cannot be put through *story*; empty when it can."""
        ...

    def run(self, order: RunRequest) -> RunResult:
        """Carry out *order* and come back when it is over, or `order.stop` is set. Raises nothing for what a client does."""
        ...

    def close(self) -> None:
        """End whatever still runs."""
        ...


def found_in(folder: Path, first: Path | None = None) -> list[Path]:
    """The files below *folder*, in order, at most so many: *first* before all others, since a client's home may be full.

    Another process of the client may still be at work there: what vanishes meanwhile is left out, here and by those who read.
    """
    below = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sorted(filter(Path.is_file, below), key=lambda path: (path != first, path))[:MOST_FILES]


def described(folder: Path, files: Iterable[Path]) -> list[dict[str, Any]]:
    """Name, size and hash of *files*, which stand below *folder*."""
    found = []
    for path in files:
        with contextlib.suppress(OSError), path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.append({"name": str(path.relative_to(folder)), "size": file.tell(), "sha256": digest})
    return found


def small_texts(folder: Path, files: Iterable[Path]) -> dict[str, bytes]:
    """The beginnings of *files* by name, to be searched."""
    found = {}
    for path in files:
        with contextlib.suppress(OSError), path.open("rb") as file:
            found[str(path.relative_to(folder))] = file.read(_FILE_CAP)
    return found


def last(data: bytes) -> str:
    """The end of an output as text, without what a terminal would obey."""
    text = data.decode("utf-8", "replace")[-KEPT:]
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text)


def cut(request: dict[str, Any]) -> dict[str, Any]:
    """A request with its long texts cut, for the history."""
    return {name: f"{value[:40]}… ({len(value)} characters)" if isinstance(value, str) and len(value) > 200 else value
            for name, value in request.items()}  # fmt: skip


def places_of(wanted: RunRequest, results: RunResult, task_id: str) -> list[str]:
    """Where the id of a task can still be read."""
    texts = {"stdout": results.stdout.encode(), "stderr": results.stderr.encode()}
    texts |= small_texts(wanted.folder, found_in(wanted.folder, wanted.out))
    return [name for name, text in texts.items() if task_id.encode() in text]
