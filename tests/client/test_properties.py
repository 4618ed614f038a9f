"""Whole stories, drawn: whatever a service does that the contract allows, some things always hold."""

import io
import tempfile
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import ProtocolError

from kling_client import Client, CreateOutcomeUnknown, KlingError, PollPolicy

DEADLINE = 300.0
WAITS = st.integers(0, 120)
LOST = ["cut", "silence", 500, 502, 503, 504, "html"]
CREATE = st.lists(st.tuples(st.just(429), WAITS), max_size=3).flatmap(
    lambda limits: st.sampled_from([*LOST, 400, 401, 402, 403, 302, *["ok"] * 12]).map(lambda end: [*limits, (end, 0)])
)
POLL = st.tuples(
    st.sampled_from(["pending", "processing", "odd", "bare", "cut", "silence", "html", 429, 500, 502, 503, 504]), WAITS
)
END = st.sampled_from(["completed", "completed", "completed", "failed", "cancelled", "stuck", 401, 404, "empty"])
LINK = st.lists(st.sampled_from(["cut", "page", 403, 404, 503, "short"]), max_size=3)


class Story:
    """Plays a drawn service and remembers what it must hold the client to."""

    def __init__(self, kit, create, polls, end, links):
        self.kit, self.time = kit, kit.time()
        self.service = kit.service(self.time)
        self.service.on("create", *[self.step(*one) for one in create])
        last = [] if end == "stuck" else [self.step(end, 0)]
        self.service.on("poll", *[self.step(*one) for one in polls], *(last or [self.step("processing", 0)]))
        self.service.on("link", *[self.link(one) for one in links], kit.video())

    def step(self, what, wait):
        """One answer of the API."""
        kit = self.kit
        if what == "cut":
            return requests.exceptions.ConnectionError(ProtocolError("cut", ConnectionResetError()))
        if what == "silence":
            return requests.exceptions.ReadTimeout("silence")
        if isinstance(what, int):
            headers = {"Retry_After": str(wait)} if what in (429, 503) else {}
            return kit.refused(what, "code", Location="https://evil.test/", **headers)
        special = {
            "html": kit.reply(502, {"Content-Type": "text/html"}, b"<html>"),
            "ok": kit.answer(kit.task()),
            "odd": kit.answer(kit.task("napping", progress=-3, new={"a": [1]})),
            "bare": kit.answer({"id": kit.task_id, "status": "processing"}),
            "empty": kit.answer(kit.task("completed", results=[])),
        }
        return special.get(what) or kit.answer(kit.task(what))

    def link(self, what):
        """One answer of the link's host."""
        kit = self.kit
        answers = {
            "cut": lambda _call: requests_cut(),
            "page": kit.reply(200, {"Content-Type": "text/html"}, b"<html>"),
            "short": lambda _call: kit.video(io.BytesIO(kit.video_bytes[:50])),
        }
        return answers.get(what) or kit.reply(what, {}, b"")

    def run(self, folder):
        """The client's outcome: a video, or the error it raised."""
        client = Client(
            self.kit.key,
            self.kit.base,
            poll=PollPolicy(deadline=DEADLINE),
            transport=self.service.transport(),
            clock=self.time.clock,
            sleep=self.time.sleep,
            dice=Random(1),
        )
        try:
            return client.generate(self.kit.image, folder / "out.mp4")
        except KlingError as error:
            return error


def requests_cut():
    """A connection that is reset before it answers."""
    raise requests.exceptions.ConnectionError(ProtocolError("cut", ConnectionResetError()))


@given(create=CREATE, polls=st.lists(POLL, max_size=8), end=END, links=LINK)
def test_what_always_holds(kit, create, polls, end, links):
    """CM-01 to CM-07, CP-03, CP-07, CP-13, CQ-04, CD-01 to CD-10, all at once."""
    story = Story(kit, create, polls, end, links)
    with tempfile.TemporaryDirectory() as name:
        began = story.time.now
        outcome = story.run(Path(name))
        left = sorted(path.name for path in Path(name).iterdir())
        saved = (Path(name) / "out.mp4").read_bytes() if "out.mp4" in left else None
    creates, reads = story.service.seen("create"), story.service.seen("poll")

    # Money: only a 429 is answered with the same create again, and always under one key.
    assert len(creates) <= len(create)
    assert len({call.headers["Idempotency-Key"] for call in creates}) == 1
    assert isinstance(outcome, CreateOutcomeUnknown) == (create[len(creates) - 1][0] in LOST)
    assert not reads or create[-1][0] == "ok"
    # Patience, and its end.
    for sent, gap in enumerate(kit.gaps(creates)):
        assert gap >= create[sent][1]
    for sent, gap in enumerate(kit.gaps(reads)[: len(polls)]):
        assert polls[sent][0] not in (429, 503) or gap >= polls[sent][1]
    assert story.time.now - began <= 2 * DEADLINE
    # The key stays home.
    for call in story.service.calls:
        home = urlsplit(call.url).hostname == urlsplit(kit.base).hostname
        assert home == ("Authorization" in call.headers)
        assert kit.key not in call.url
    # The file is whole or not there, and success means that it is.
    assert saved in (None, kit.video_bytes)
    assert (saved is not None) == (not isinstance(outcome, KlingError))
    assert not any(name.endswith((".part", ".lock")) for name in left)
    if saved is not None:
        assert end == "completed"
        assert left == ["out.mp4"]
    # Ends are ends: after one, a task is only read again for a link that has expired, once.
    after_end = reads[len(polls) + 1 :] if end in ("completed", "failed", "cancelled", "empty") else []
    assert len(after_end) <= (1 if end == "completed" and {403, 404} & set(links) else 0)
