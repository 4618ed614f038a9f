"""A broken client for each rule about clients: one switch of `kling_contract.mutants.client` each.

Every mutant is a command that the lab judges like any other; it runs only the stories that can show its rule.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kling_contract.lab.pace import Pace
from kling_contract.lab.stories import Story, serving
from kling_contract.reading.contract import Contract
from kling_contract.rules.rulebook import rules

PAUSE, DEADLINE = 0.2, 6.0
"""Seconds that the client is given to wait between reads and to give up after, unless a mutant needs others to be seen."""
TIMEOUT = 1.0
"""Seconds of one call."""


@dataclass(frozen=True, slots=True)
class ClientMutant:
    """A client with one switch thrown.

    rule: the one that must be named for it. switch: its name. story: one sentence, what is wrong with it. callbacks:
    whether it must register one to be seen. pause: seconds that it really waits between reads, if not what it was given.
    limit: seconds that it has at least. stories: those that show it; empty for all that serve the rule. alone: its calls carry
    no case's key, so that only a fake of its own can tell whose they are.
    """

    rule: str
    switch: str
    story: str
    callbacks: bool = False
    pause: float = PAUSE
    stories: tuple[str, ...] = ()
    alone: bool = False
    limit: float = 0.0

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.switch or ("correct-client-with-callbacks" if self.callbacks else "correct-client")

    @property
    def deadline(self) -> float:
        """Seconds after which it is to give up; more where it waits longer."""
        return max(self.limit, DEADLINE * max(1.0, self.pause / (2 * PAUSE)))

    @property
    def pace(self) -> Pace:
        """What it is given: to wait as long as it does, so that only a switch makes it hurry."""
        return Pace(self.pause, self.pause, self.deadline, pause=self.pause, patience=0.0)

    def plays(self, stories: Iterable[Story]) -> list[Story]:
        """Those of *stories* that show it."""
        found = serving(stories, [self.rule]) if self.rule else list(stories)
        named = [story for story in found if not self.stories or story.name in self.stories]
        return [
            story
            for story in named
            if ("webhook" in story.needs) == self.callbacks and "aspect-ratio" not in story.needs
        ]


_WEB = True
MUTANTS: tuple[ClientMutant, ...] = (
    ClientMutant("CQ-01", "reads-without-bearer", "reads tasks with the key bare in the header", alone=True),
    ClientMutant("CQ-02", "puts-the-key-in-the-url", "adds the key to every URL"),
    ClientMutant("CQ-03", "prints-the-key", "prints the key among its news"),
    ClientMutant("CQ-04", "sends-the-key-to-links", "sends the key to the host of the video", stories=("happy",)),
    ClientMutant("CQ-04", "carries-the-key-along", "follows a redirected read with its key", stories=("redirect-read",)),
    ClientMutant("CQ-05", "follows-redirects", "follows a redirected create wherever it leads"),
    ClientMutant("CQ-06", "takes-plain-http", "talks to a distant host without encryption"),
    ClientMutant("CQ-07", "trusts-any-certificate", "does not verify certificates"),
    ClientMutant("CQ-08", "sends-duration-as-text", "sends the duration as a text", stories=("all-options",)),
    ClientMutant("CQ-08", "adds-an-aspect-ratio", "adds the aspect_ratio that its sibling models take", stories=("all-options",)),
    ClientMutant("CQ-09", "sends-plain-text", "calls its JSON text/plain"),
    ClientMutant("CQ-10", "checks-nothing", "sends whatever it is asked for"),
    ClientMutant("CQ-10", "takes-any-callback-url", "registers any callback URL", _WEB,
                 stories=("refused-callback", "refused-long-callback")),
    ClientMutant("CQ-11", "sends-what-nobody-asked", "asks for the best quality unasked"),
    ClientMutant("CQ-12", "puts-the-id-in-bare", "puts the task's id into the path as it stands"),
    ClientMutant("CQ-13", "names-a-library", "gives a library's name for its own"),
    ClientMutant("CQ-14", "registers-plain-http", "registers a callback URL that is not encrypted", _WEB, stories=("webhook",)),
    ClientMutant("CQ-15", "drops-the-quality", "does not pass the quality on", stories=("all-options",)),
    ClientMutant("CQ-16", "keeps-the-slash", "puts its paths behind the slash of the base URL"),
    ClientMutant("CQ-17", "doubles-the-version", "puts its paths behind the version of the base URL"),
    ClientMutant("CM-01", "creates-twice", "creates twice, to be safe"),
    ClientMutant("CM-02", "repeats-a-lost-create", "sends a lost create again, under a new Idempotency-Key"),
    ClientMutant("CM-03", "repeats-a-failed-create", "sends a create again after a 5xx, under a new Idempotency-Key"),
    ClientMutant("CM-04", "hurries-a-limited-create", "sends a limited create again at once"),
    ClientMutant("CM-05", "repeats-a-refused-create", "sends a refused create again as it is", stories=("create-402", "create-403")),
    ClientMutant("CM-06", "creates-after-failure", "creates anew when a task has failed", stories=("failed", "failed-retryable")),
    ClientMutant("CM-07", "calls-lost-failed", "calls a lost create failed", stories=("lost-reply", "create-cut")),
    ClientMutant("CM-07", "calls-a-5xx-failed", "calls a create failed that a gateway gave up on", stories=("create-504",)),
    ClientMutant("CM-08", "forgets-on-restart", "prints the task's id, but begins anew when it is run again"),
    ClientMutant("CM-09", "keeps-the-id-to-itself", "holds the task's id in memory alone"),
    ClientMutant("CM-10", "ignores-the-lock", "does not look whether another run is at work for the same file"),
    ClientMutant("CM-11", "hides-the-balance", "reports a 402 like any other refusal"),
    ClientMutant("CM-12", "hides-the-charge", "says nothing of the charge"),
    ClientMutant("CM-13", "dies-of-a-limited-create", "gives up when a create is limited once", stories=("create-429",)),
    ClientMutant("CM-14", "hammers-a-limited-create", "sends limited creates again without a pause"),
    ClientMutant("CM-15", "forgets-a-lost-create", "takes a lost create for never sent when its repetition cannot connect"),
    ClientMutant("CP-01", "polls-without-pause", "reads without a pause", stories=("happy",)),
    ClientMutant("CP-02", "hurries-later", "reads faster as time goes by", limit=14.0),
    ClientMutant("CP-03", "ignores-retry-after", "reads on after a 429 as if nothing were asked", stories=("read-429",)),
    ClientMutant("CP-04", "knows-no-dates", "understands Retry-After in seconds only", stories=("read-429-date",)),
    ClientMutant("CP-05", "dies-of-a-5xx", "gives up at the first 5xx", stories=("read-500", "read-504")),
    ClientMutant("CP-05", "counts-every-5xx", "gives up at the fourth 5xx of a job, whatever came between", stories=("read-scattered",)),
    ClientMutant("CP-06", "dies-of-a-cut-read", "gives up at the first cut connection"),
    ClientMutant("CP-07", "reads-on-after-the-end", "reads on after the end", stories=("happy",)),
    ClientMutant("CP-08", "waits-on-after-failure", "waits on for a task that has failed", stories=("failed",)),
    ClientMutant("CP-09", "breaks-on-unknown-status", "breaks down at a status that it does not know"),
    ClientMutant("CP-10", "knows-every-member", "breaks down at a member that it does not know"),
    ClientMutant("CP-11", "needs-every-member", "breaks down without task_info"),
    ClientMutant("CP-12", "gives-up-on-still-progress", "gives up when progress stands still"),
    ClientMutant("CP-13", "never-gives-up", "reads for ever", stories=("stuck",)),
    ClientMutant("CP-13", "calls-giving-up-failed", "calls a task failed that it gave up on", stories=("stuck",)),
    ClientMutant("CP-14", "has-no-timeout", "waits for an answer as long as it takes", stories=("read-silent",)),
    ClientMutant("CP-15", "breaks-on-html", "takes every answer for JSON", stories=("read-502", "read-not-json")),
    ClientMutant("CP-16", "believes-the-first-404", "believes a 404 right after the create"),
    ClientMutant("CP-17", "reads-on-after-401", "reads on with a key that was revoked"),
    ClientMutant("CP-17", "hides-the-refusal", "does not say that its key was refused"),
    ClientMutant("CP-18", "polls-in-step", "lets all its tasks be read in step", pause=3.0),
    ClientMutant("CP-19", "bursts-after-a-5xx", "reads again at once after a 5xx, as often as it takes"),
    ClientMutant("CP-20", "never-slows-down", "waits no longer after several 5xx in a row", pause=1.0),
    ClientMutant("CP-21", "dies-of-a-limited-read", "gives up when a read is limited once", stories=("read-429",)),
    ClientMutant("CP-22", "hammers-a-limited-read", "sends limited reads again without a pause"),
    ClientMutant("CP-23", "hides-the-id", "does not say which task it gave up on"),
    ClientMutant("CD-01", "saves-nothing", "ends well without a file or a link", stories=("happy",)),
    ClientMutant("CD-01", "fails-with-the-video", "has the video and says that it failed", stories=("happy",)),
    ClientMutant("CD-02", "downloads-late", "lets a finished video lie"),
    ClientMutant("CD-03", "loses-a-byte", "writes the video without its last byte", stories=("happy",)),
    ClientMutant("CD-04", "writes-in-place", "writes an unfinished download under the final name", stories=("link-cut-for-ever",)),
    ClientMutant("CD-05", "dies-of-a-cut-download", "gives a cut download up"),
    ClientMutant("CD-06", "creates-for-an-expired-link", "creates anew when a link has expired", stories=("link-expired",)),
    ClientMutant("CD-06", "dies-of-an-expired-link", "does not ask for a fresh link", stories=("link-expired",)),
    ClientMutant("CD-07", "saves-any-page", "saves a page as a video"),
    ClientMutant("CD-08", "downloads-for-ever", "downloads without an end"),
    ClientMutant("CD-09", "succeeds-without-results", "calls a task without results a success"),
    ClientMutant("CD-10", "calls-failure-completed", "calls a failed task completed", stories=("failed", "cancelled")),
    ClientMutant("CD-11", "tells-another-id", "tells the id of another task", stories=("happy",)),
    ClientMutant("CD-11", "always-says-completed", "says completed whatever came of it", stories=("read-403", "read-404")),
    ClientMutant("CD-12", "hides-the-reason", "does not say why a task failed", stories=("failed", "cancelled")),
    ClientMutant("CW-01", "answers-500", "answers every callback with a 500", _WEB, stories=("webhook",)),
    ClientMutant("CW-02", "works-before-it-answers", "answers a callback only when all work is done", _WEB),
    ClientMutant("CW-03", "acts-on-every-callback", "acts on each copy of a callback", _WEB),
    ClientMutant("CW-04", "forgets-early-callbacks", "refuses a callback that is early", _WEB),
    ClientMutant("CW-05", "acts-on-poll-and-callback", "acts once for the read and once for the callback", _WEB,
                 stories=("webhook", "webhook-late")),
    ClientMutant("CW-06", "believes-the-callback", "believes a callback more than the service", _WEB,
                 stories=("webhook-contradicts",)),
    ClientMutant("CW-07", "breaks-on-unknown-ids", "breaks down at a callback for an unknown task", _WEB),
    ClientMutant("CW-08", "acts-on-the-callback", "downloads what a callback names, on its word", _WEB),
    ClientMutant("CW-09", "breaks-on-rubbish", "breaks down at a body that is no JSON", _WEB),
    ClientMutant("CW-09", "takes-any-length", "answers 2xx to a body that it did not read", _WEB),
    ClientMutant("CW-10", "takes-any-method", "answers a GET as if it were a callback", _WEB),
    ClientMutant("CW-11", "only-waits-for-callbacks", "does not read while no callback has come", _WEB),
    ClientMutant("CW-12", "loses-what-it-confirms", "answers 2xx and forgets what it could not confirm", _WEB),
    ClientMutant("CW-13", "fetches-what-callbacks-name", "looks at any link that a callback names", _WEB),
)  # fmt: skip
"""In the rulebook's order."""

CORRECT = (ClientMutant("", "", "no switch thrown"), ClientMutant("", "", "no switch thrown, with callbacks", _WEB))
"""The client as it should be, without callbacks and with them: it trips nothing."""


def limits_of(contract: Contract) -> dict[str, Any]:
    """What the client knows of the contract, for its `--limits`."""
    body = rules(contract)["CW-09"].params["bytes"]
    return {
        "model": contract.model, "duration": [contract.duration_min, contract.duration_max],
        "qualities": list(contract.qualities), "prompt": contract.prompt_max, "callback_url": contract.callback_url_max,
        "statuses": list(contract.statuses), "members": [*contract.task_documented, *contract.created_members],
        "create": contract.named("createVideo").template, "read": contract.named("getTask").template.partition("{")[0],
        "callback_bytes": body, "video_bytes": 8 * body,
    }  # fmt: skip


def command(mutant: ClientMutant, contract: Contract) -> list[str]:
    """The command line of *mutant*."""
    words = [sys.executable, "-m", "kling_contract.mutants.client", "--limits", json.dumps(limits_of(contract))]
    words += ["--pause", f"{mutant.pause:g}", "--timeout", f"{TIMEOUT:g}"]
    words += ["--mutant", mutant.switch] if mutant.switch else []
    return [*words, *(["--callbacks"] if mutant.callbacks else [])]
