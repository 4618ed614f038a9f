"""The client: create, wait, save; careful in every step unless its switch says otherwise."""

import hashlib
import json
import threading
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from kling_contract.mutants.client.calls import REDIRECTS, End, parsed
from kling_contract.mutants.client.memory import Memory
from kling_contract.mutants.client.world import Lost, Reply, TooLong, retry_after

EXITS = {"completed": 0, "failed": 3, "refused": 4, "gave_up": 5, "unknown": 6}
WORDS = {400: "invalid", 401: "auth", 402: "balance", 403: "permission", 404: "not_found", 429: "rate"}
GONE = (403, 404, 410)
_LEISURE, _STAYS = 1.2, 2.0
"""Seconds that two broken clients take: for the first waits, and for late callbacks."""
TASK_ENDS = ("failed", "cancelled")


class Client(Memory):
    """One request of the user. `run` carries it out; `heard` takes what arrives at the callback URL."""

    def run(self) -> dict[str, Any]:
        """Carry it out; return what KLING_RESULT is to hold."""
        error = None
        try:
            self._carry_out()
            outcome = "failed" if self.does("fails-with-the-video") else "completed"
        except End as end:
            outcome, error = end.outcome, {"class": end.kind, "message": end.message}
            claims = self.does("always-says-completed") or (self.does("calls-failure-completed") and end.kind == "task")
            outcome = "completed" if claims else outcome
            self.world.say(f"{outcome}: {end.message}")
        told = "task-unified-1000000000-madeupid" if self.does("tells-another-id") else self.task_id
        told = "" if self.does("hides-the-id") else told
        return {"outcome": outcome, "task_id": told or None, "effects": self.effects, "error": error}

    def _carry_out(self) -> None:
        self._check()
        with self._alone():
            resumed = "" if self.does("forgets-on-restart") or self.does("ignores-the-lock") else self._remembered()
            self.task_id = resumed or self._create()
            if self.does("creates-twice"):
                self._create()
            task = self._wait(fresh=not resumed)
            self._keep_all(task)
        self._linger()

    # Before anything is sent

    def _check(self) -> None:
        """Refuse what the contract forbids."""
        parts = urlsplit(self.setup.base_url)
        plain = parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1")
        if plain and not self.does("takes-plain-http"):
            raise End("refused", "config", "the base URL is not encrypted")
        asked, limits = self.setup.request, self.setup.limits
        low, high = limits["duration"]
        url = self.setup.callback_url
        if not low <= asked.get("duration", low) <= high and not self.does("checks-nothing"):
            raise End("refused", "invalid", "duration is out of range")
        if asked.get("quality", limits["qualities"][0]) not in limits["qualities"] and not self.does("checks-nothing"):
            raise End("refused", "invalid", "there is no such quality")
        if len(asked.get("prompt", "")) > limits["prompt"] and not self.does("checks-nothing"):
            raise End("refused", "invalid", "the prompt is too long")
        unfit = url and (not url.startswith("https://") or len(url) > limits["callback_url"])
        if unfit and not self.does("takes-any-callback-url"):
            raise End("refused", "invalid", "the callback URL is not https, or too long")

    # Creating

    def _body(self) -> dict[str, Any]:
        body = {"model": self.setup.limits["model"], **self.setup.request}
        if self.setup.callback_url:
            body["callback_url"] = self.setup.callback_url
        if self.does("sends-duration-as-text"):
            body["duration"] = str(body.get("duration", self.setup.limits["duration"][0]))
        if self.does("drops-the-quality"):
            body.pop("quality", None)
        if self.does("registers-plain-http") and "callback_url" in body:
            body["callback_url"] = body["callback_url"].replace("https://", "http://")
        if self.does("adds-an-aspect-ratio"):
            body["aspect_ratio"] = "16:9"
        if self.does("sends-what-nobody-asked"):
            body["quality"] = self.setup.limits["qualities"][-1]
        return body

    def _create(self) -> str:
        """Send the create, again only where nothing can be paid twice; return the task's id."""
        body = json.dumps(self._body()).encode()
        key = self._begun()
        for _ in range(50 if self.does("hammers-a-limited-create") else 5):
            try:
                reply = self.call("POST", self.setup.limits["create"], body, key)
            except Lost as lost:
                self._lost(lost)
                if self.does("repeats-a-lost-create"):
                    key = uuid.uuid4().hex
                    continue
                if self.does("calls-lost-failed"):
                    raise End("failed", "network", str(lost)) from None
                raise End(
                    "unknown" if lost.sent else "failed", "network", f"{lost}; it may have been accepted"
                ) from None
            made = parsed(reply.body)
            if reply.status == 200 and isinstance(made, dict) and isinstance(made.get("id"), str):
                return self._made(made)
            key = self._judge_create(reply, key)
        raise End("failed", "rate", "refused too often")

    def _made(self, made: dict[str, Any]) -> str:
        """Write the id down before anything else is done."""
        if not self.does("keeps-the-id-to-itself"):
            if not self.does("forgets-on-restart"):
                self.setup.out.with_suffix(".task").write_text(made["id"])
            if not self.does("hides-the-id"):
                self.world.say(f"task {made['id']}")
        self._over()
        cost = (made.get("usage") or {}).get("credits_reserved")
        if cost is not None and not self.does("hides-the-charge"):
            self.world.say(f"credits reserved: {cost:g}")
        if self.does("prints-the-key"):
            self.world.say(f"using the key {self.setup.key}")
        self._strict(made)
        return str(made["id"])

    def _judge_create(self, reply: Reply, key: str) -> str:
        """Wait where sending again is right, and return the key to send it with; else end."""
        status = reply.status
        if status == 429 and self.does("dies-of-a-limited-create"):
            raise End("failed", "rate", "429: refused")
        if status == 429 and self.does("hammers-a-limited-create"):
            return key
        if status == 429:
            asked = retry_after(reply, self.world.wall())
            wait = 0.05 if self.does("hurries-a-limited-create") else max(asked, self._pause)
            if wait >= self.left():
                raise End("failed", "rate", "429: there is no time left to wait")
            self.nap(wait)
            return key
        if status >= 500 and self.does("repeats-a-failed-create"):
            return uuid.uuid4().hex
        if 400 <= status < 500 and self.does("repeats-a-refused-create"):
            self.nap(self._pause)
            return key
        if status >= 500 and self.does("calls-a-5xx-failed"):
            raise End("failed", "server", f"answered {status}")
        if status >= 500 or status == 200:
            raise End("unknown", "server", f"answered {status}; it may have been accepted")
        self._over()
        kind = WORDS.get(status, "refused")
        if status == 402 and self.does("hides-the-balance"):
            raise End("refused", "refused", "the request was refused")
        raise End("refused", kind, f"{status}: {kind}")

    # Waiting

    def _wait(self, *, fresh: bool) -> dict[str, Any]:
        """Read the task until it is completed.

        Raises:
            End: it failed, cannot be read, or did not end in time.
        """
        errors = missing = still = reads = 0
        progress: Any = None
        wait = self._first_wait()
        while True:
            if self.does("only-waits-for-callbacks") and not self.heard_of:
                self.nap(max(0.0, self.left()))
            if self.does("loses-what-it-confirms") and reads:
                self.world.sleep(max(0.0, self.left()), self._confirmed)
            self._rest(wait)
            reply, reads = self._read(), reads + 1
            task = self._told(reply)
            if task is not None:
                errors = 0
                still, progress = (still + 1 if task.get("progress") == progress else 0), task.get("progress")
                if self.does("gives-up-on-still-progress") and still >= 3:
                    raise End("failed", "stalled", "there is no progress")
                if self._ended(task):
                    return task
                wait = self._next_wait(reads)
                continue
            if (
                reply is not None
                and reply.status == 404
                and fresh
                and missing < 3
                and not self.does("believes-the-first-404")
            ):
                missing, wait = missing + 1, self._pause
                continue
            errors += 1
            wait = self._after_trouble(reply, errors)

    def _first_wait(self) -> float:
        return _LEISURE if self.does("hurries-later") else self._pause

    def _next_wait(self, reads: int) -> float:
        if self.does("hurries-later"):
            return _LEISURE if reads < 4 else self.setup.pause
        return 0.0 if self.does("polls-without-pause") else self._pause

    def _rest(self, wait: float) -> None:
        """Wait, but not past the deadline.

        Raises:
            End: there is no time left.
        """
        if wait >= self.left() and not self.does("never-gives-up"):
            if self.does("calls-giving-up-failed"):
                raise End("failed", "deadline", f"{self.task_id} failed")
            name = "the task" if self.does("hides-the-id") else self.task_id
            raise End("gave_up", "deadline", f"{name} did not end in time; it may still be running")
        self.nap(wait)

    def _read(self) -> Reply | None:
        """Read the task once; None when no answer came."""
        task_id = self.task_id if self.does("puts-the-id-in-bare") else quote(self.task_id, safe="")
        try:
            return self.call("GET", self.setup.limits["read"] + task_id)
        except Lost as lost:
            if self.does("dies-of-a-cut-read"):
                raise End("failed", "network", str(lost)) from None
            return None

    def _told(self, reply: Reply | None) -> dict[str, Any] | None:
        """The task in an answer; None where it holds none."""
        if reply is None:
            return None
        task = json.loads(reply.body) if self.does("breaks-on-html") else parsed(reply.body)
        if reply.status != 200 or not isinstance(task, dict) or not isinstance(task.get("status"), str):
            return None
        self._strict(task)
        return task

    def _strict(self, task: dict[str, Any]) -> None:
        """Careful clients take any answer; these two do not."""
        if self.does("knows-every-member"):
            assert set(task) <= set(self.setup.limits["members"]), "an unknown member"
        if self.does("needs-every-member"):
            self.world.say(f"about {task['task_info']['estimated_time']} s")

    def _ended(self, task: dict[str, Any]) -> bool:
        """Whether it is completed. Raises End when it failed, or a callback is believed instead."""
        status = task["status"]
        claim = self.heard_of.get(self.task_id)
        if claim is not None and self.does("believes-the-callback"):
            status, task["error"] = claim.get("status"), claim.get("error")
        if claim is not None and self.does("acts-on-the-callback") and claim.get("status") == "completed":
            self._save(claim["results"][0])
            return False
        if self.does("breaks-on-unknown-status"):
            assert status in (*self.setup.limits["statuses"], "cancelled"), f"status {status}"
        if status in TASK_ENDS and not self.does("waits-on-after-failure"):
            if self.does("creates-after-failure") and self.effects == 0:
                self.effects -= 1
                self._create()
            error = task.get("error") or {}
            why = "it did not work" if self.does("hides-the-reason") else f"{error.get('code')}: {error.get('message')}"
            raise End("failed", "task", f"{self.task_id} {status}: {why}")
        for _ in range(4 if status == "completed" and self.does("reads-on-after-the-end") else 0):
            self._read()
        return bool(status == "completed")

    def _after_trouble(self, reply: Reply | None, errors: int) -> float:
        """Seconds to wait after a read without a result. Raises End when there is no sense in another."""
        wait = self._pause * (1 if self.does("never-slows-down") else min(1 << errors, 12))
        if reply is None:
            return wait
        if reply.status == 429:
            return self._after_limit(reply, wait)
        if reply.status >= 500 or reply.status == 200 or (reply.status in REDIRECTS and errors < 3):
            return self._after_error(reply, wait)
        if reply.status == 401 and self.does("reads-on-after-401"):
            return wait
        if self.does("hides-the-refusal"):
            raise End("failed", "unreadable", f"{self.task_id} did not work out")
        kind = WORDS.get(reply.status, "refused")
        raise End("failed", kind, f"{self.task_id} cannot be read: {reply.status} {kind}")

    def _after_limit(self, reply: Reply, wait: float) -> float:
        if self.does("dies-of-a-limited-read"):
            raise End("failed", "rate", "429: refused")
        if self.does("hammers-a-limited-read"):
            return 0.0
        if self.does("ignores-retry-after"):
            return self._pause
        return max(wait if not self.does("knows-no-dates") else self._pause, self._asked(reply))

    def _after_error(self, reply: Reply, wait: float) -> float:
        self.troubles += reply.status >= 500
        dies = self.does("dies-of-a-5xx") or (self.does("counts-every-5xx") and self.troubles > 3)
        if dies and reply.status >= 500:
            raise End("failed", "server", f"answered {reply.status}")
        return 0.0 if self.does("bursts-after-a-5xx") else wait

    def _asked(self, reply: Reply) -> float:
        return retry_after(reply, self.world.wall(), dates=not self.does("knows-no-dates"))

    # Saving

    def _keep_all(self, task: dict[str, Any]) -> None:
        """Save the video, or say why that cannot be.

        Raises:
            End: it cannot.
        """
        links = [link for link in task.get("results") or () if isinstance(link, str)]
        if self.does("saves-nothing") or (self.does("succeeds-without-results") and not links):
            return
        if self.does("downloads-late"):
            self.world.sleep(self.setup.deadline + 0.3, threading.Event())
        if not links:
            raise End("failed", "result", f"{self.task_id} is completed, but without a link")
        refreshed = False
        while not self._save(links[0]):
            if refreshed or self.does("dies-of-an-expired-link"):
                raise End("failed", "download", "the link has expired")
            if self.does("creates-for-an-expired-link"):
                self.task_id = self._create()
            refreshed = True
            links = self._wait(fresh=False).get("results") or links

    def _save(self, link: str) -> bool:
        """Save what *link* serves; False where it has expired. Raises End when it cannot be saved."""
        for attempt in range(1 if self.does("dies-of-a-cut-download") else 3):
            if attempt:
                self.nap(min(self._pause * 2**attempt, max(0.0, self.left())))
            if self.left() <= 0 and not self.does("downloads-late"):
                break
            headers = self._headers() if self.does("sends-the-key-to-links") else {"User-Agent": self._agent()}
            try:
                reply = self._fetch(link, headers)
            except Lost as lost:
                if self.does("writes-in-place"):
                    self.setup.out.write_bytes(lost.partial)
                continue
            except TooLong:
                raise End("failed", "download", "the video is too long") from None
            if reply.status in GONE:
                return False
            if reply.status == 200 and self._keep(reply):
                return True
        raise End(
            "failed", "download", f"{self.task_id} is completed, but its video cannot be saved; it is still there"
        )

    def _fetch(self, link: str, headers: Mapping[str, str]) -> Reply:
        most = self.setup.limits["video_bytes"] if not self.does("downloads-for-ever") else 1 << 60
        seconds = 3600.0 if self.does("downloads-for-ever") or self.does("downloads-late") else max(0.1, self.left())
        return self.world.send("GET", link, headers, None, seconds, most)

    def _keep(self, reply: Reply) -> bool:
        """Write the file, whole or not at all; False where it is no video."""
        video = reply.body[4:8] == b"ftyp"
        if not video and not self.does("saves-any-page"):
            raise End("failed", "download", "the link serves something that is no video")
        body = reply.body[:-1] if self.does("loses-a-byte") else reply.body
        part = self.setup.out.with_suffix(".part")
        part.write_bytes(body)
        part.replace(self.setup.out)
        self.effects += 1
        self.world.say(f"saved {self.setup.out.name}, sha256 {hashlib.sha256(body).hexdigest()}")
        return True

    def _linger(self) -> None:
        """Stay for late callbacks, and act once more on each: what the careful client never does."""
        if not any(map(self.does, ("acts-on-every-callback", "acts-on-poll-and-callback", "answers-500"))):
            return
        self.world.sleep(_STAYS, threading.Event())
        if self.does("answers-500"):
            return
        again = self._again[1:] if self.does("acts-on-every-callback") else self._again[:1]
        for told in again:
            for link in told.get("results") or ():
                self._save(link)
