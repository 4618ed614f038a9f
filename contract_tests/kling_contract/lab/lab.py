"""One story, run: the seam that everything above the lab stands on.

`Lab.run_story(story, adapter)` gives the events of one case, whoever drives the client: a command, an adapter over JSON
lines, or a function in this process.
"""

import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from kling_contract.driving.control import ControlFailed
from kling_contract.driving.sender import Limits, Sender
from kling_contract.history.events import AnyEvent, Exchange, Note, Recorder, wall
from kling_contract.history.labels import Topic
from kling_contract.lab.door import OPEN_AGAIN, Door
from kling_contract.lab.environment import environment
from kling_contract.lab.fake import IMAGE, Fake
from kling_contract.lab.forging import Forger, listens, wait_for
from kling_contract.lab.journal import Reader, carries, hooked
from kling_contract.lab.other_hosts import FORGED_VIDEO, PLAIN_HTTP, OtherHost
from kling_contract.lab.pace import FORCED, GRACE, Pace
from kling_contract.lab.results import Adapter, RunRequest, RunResult, cut, places_of
from kling_contract.lab.stories import PROMPT, RUNS, Story, filled
from kling_contract.lab.watch import Seen
from kling_contract.reading.addresses import origin_in
from kling_contract.reading.contract import Contract
from kling_contract.rules.case_facts import SPELT, CaseFacts
from kling_contract.rules.cases import MOST_OF
from kling_contract.serving import free_port

_LAST_BYTE = 8 << 20
UNKNOWN_ACCOUNT = "nobody's"
"""The case of calls that carried no case's key."""


Short = Literal["", "gave up", "cut short"]
"""How a client runs out of time: it says so itself, or the lab ends it."""


@dataclass(slots=True)
class Case:
    """What a run of one story gathers. seen: what the fake has seen of it so far."""

    story: Story
    key: str
    folder: Path
    seen: Seen
    repeats: str = ""
    door: Door | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    events: list[AnyEvent] = field(default_factory=list)
    results: list[RunResult] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """What the history calls it."""
        return f"{self.repeats}:again" if self.repeats else self.story.name

    def keep(self, event: AnyEvent) -> None:
        """Take an event in, from any thread."""
        with self.lock:
            self.events.append(event)


@dataclass(frozen=True, slots=True)
class Ended:
    """A case that is over.

    called: whether the client ever called the fake. hooked: whether a create named a callback. short: how it ran out of time
    where it should complete; then its events are not recorded yet, see `Lab.keep`. left_out: why it was not played to its end;
    then nothing of it is recorded.
    """

    story: Story
    results: tuple[RunResult, ...]
    events: tuple[AnyEvent, ...]
    called: bool
    hooked: bool
    short: Short = ""
    left_out: str = ""

    @property
    def unable(self) -> str:
        """Why it shows nothing; empty when it does."""
        if self.left_out:
            return self.left_out
        reasons = [results.cannot for results in self.results if results.cannot]
        if reasons:
            return f"the client cannot do it: {reasons[0]}"
        if "webhook" in self.story.needs and not self.hooked:
            return "the client registered no callback: its command names none"
        return ""


class Lab:
    """Runs stories against one fake.

    recorder: masks keys and gives the clocks; `run_story` appends the case's events to it, in order and all at once.
    """

    def __init__(self, fake: Fake, contract: Contract, recorder: Recorder, folder: Path, pace: Pace) -> None:
        self.fake, self.contract, self.recorder, self.folder, self.pace = fake, contract, recorder, folder, pace
        self._wire = Sender(verify=fake.variables.get("SSL_CERT_FILE", ""))
        began = wall().at - recorder.mono()
        self._reader = Reader(recorder, origin=fake.origin, links=fake.link_origin, began=began)
        self._accounts: set[str] = set()
        self._off_paths: set[str] = set()  # accounts whose calls of unknown paths their case already has
        self._gathering = threading.Lock()
        self._stops: list[threading.Event] = []
        self._aborted = False
        self.out_of_time = ""
        """Why no story is played to its end any more; empty while they are."""

    def run_story(
        self, story: Story, adapter: Adapter, seen: Seen | None = None, *, final: bool = True, repeats: str = ""
    ) -> Ended:
        """Put the client of *adapter* through *story*; the events are in the recorder when it returns.

        seen: filled meanwhile with what the fake sees. final: False for a run that may be repeated; of one that was too short
        for its client nothing is recorded. repeats: the case that this run confirms.
        """
        key = f"sk-lab-{secrets.token_hex(12)}"
        self.recorder.mask.learn(key)
        folder = self.folder / f"{story.name}-{key[-6:]}"
        folder.mkdir(parents=True)
        case = Case(story, key, folder, seen or Seen(), repeats)
        with ExitStack() as stack:
            other_host = stack.enter_context(OtherHost(self.recorder, case.keep, case.name))
            hidden = None
            if story.base == "untrusted":
                hidden = stack.enter_context(OtherHost(self.recorder, case.keep, case.name, tls=True))
            if story.flow == "again":
                case.door = stack.enter_context(Door(self.fake.origin, self._create_line))
            wanted = replace(
                self._request_of(case, other_host, hidden), speaks=adapter.speaks and "webhook" in story.needs
            )
            self._prepare(case, wanted, other_host, adapter)
            case.seen.called = wanted.up.set
            self.fake.watch.follow(key, case.seen)
            self._drive(case, wanted, adapter, other_host)
            if hidden is not None:
                case.keep(self._touched(case, hidden))
        ended = self._gathered(case, final=final)
        if self.out_of_time and any(result.ended == "on purpose" for result in ended.results):
            return replace(ended, events=(), short="", left_out=self.out_of_time)
        return ended if ended.short else self.keep(ended)

    @property
    def _create_line(self) -> str:
        """How a create begins on the wire."""
        return f"POST {self.contract.named('createVideo').template} "

    def abort(self) -> None:
        """Have every client stopped at once, and none started any more."""
        self._aborted = True
        for stop in self._stops:
            stop.set()

    def end_for_time(self, reason: str) -> None:
        """Leave out, for *reason*, what is under way and what would still begin."""
        self.out_of_time = reason
        self.abort()

    def strays(self) -> list[AnyEvent]:
        """Write down the calls that no case's key was sent with, and return them; once, at the end."""
        entries = self.fake.control.journal(self.fake.since)
        strange = [
            entry for entry in entries if entry.get("kind") == "exchange" and entry["account"] not in self._accounts
        ]
        strange = [entry for entry in strange if not any(carries(entry, account) for account in self._off_paths)]
        return [self.recorder.add(event) for event in self._reader.events(strange, case=UNKNOWN_ACCOUNT, key="")]

    def _touched(self, case: Case, hidden: OtherHost) -> Note:
        data = {"untrusted": hidden.origin, "connections": hidden.touched}
        return Note(topic=Topic.ELSEWHERE, data=data, case=case.name, mono=self.recorder.mono())

    def _request_of(self, case: Case, other_host: OtherHost, hidden: OtherHost | None) -> RunRequest:
        story = case.story
        bases = {
            "fake": case.door.origin if case.door else self.fake.origin,
            "slash": f"{self.fake.origin}/",
            "version": f"{self.fake.origin}{self.contract.root.rstrip('/')}",
            "plain-http": PLAIN_HTTP,
            "untrusted": hidden.origin if hidden else "",
        }
        port = free_port()
        host = f"{case.key[-12:]}.hooks.example.com"
        work = case.folder / "work"
        work.mkdir()
        request = {"image_start": IMAGE, **({} if story.bare else {"prompt": PROMPT}), **story.request}
        limit = self.pace.limit_for(story)
        url = str(request.pop("callback_url", f"https://{host}/callback/{case.key[-8:]}"))
        wanted = RunRequest(
            case=story.name, needs=story.needs, flow=story.flow, job=1, base_url=bases[story.base], api_key=case.key,
            request=request, folder=work,
            out=work / "video.mp4", min_poll=self.pace.for_story(story), deadline=limit, grace=GRACE,
            limit=self.pace.ends_after(limit), callback_url=url, callback_port=port,
            first_call=lambda: case.seen.first, turn=story.turn,
            model=self.contract.asked.name if self.contract.asked else self.contract.model,
        )  # fmt: skip
        return self._dressed(wanted, other_host)

    def _dressed(self, wanted: RunRequest, other_host: OtherHost) -> RunRequest:
        self._stops.append(wanted.stop)
        if self._aborted:
            wanted.stop.set()
        proxy = other_host.origin.partition("://")[2]
        variables = self.fake.variables
        control = f"{self.fake.origin}/__mock"
        return replace(wanted, environment=environment(wanted, control_url=control, proxy=proxy, variables=variables))

    def _prepare(self, case: Case, wanted: RunRequest, other_host: OtherHost, adapter: Adapter) -> None:
        """Tell the fake what to do, and the history what is right."""
        story, control = case.story, self.fake.control.of(case.key)
        facts: dict[str, Any] = {
            "elsewhere": other_host.origin,
            "create_path": self.contract.named("createVideo").template,
        }
        facts |= {"forged_video": other_host.origin + FORGED_VIDEO, "retry_after": self.pace.retry_after}
        params = filled(story.params, facts)
        if story.scenario:
            queued = {"name": story.scenario, "params": params, "times": story.times}
            control.call("POST", "/scenarios/next", queued)
        if story.flow in RUNS:  # what later runs make is over at once: a task of usual length would only be waited for
            control.story("poll-paced", 2, pending=0, processing=0)
        control.relays({origin_in(wanted.callback_url): f"http://127.0.0.1:{wanted.callback_port}"})
        asked = {
            name: value for name, value in wanted.request.items() if name != "image_start" or name in story.request
        }
        about = CaseFacts(
            story=story.name, summary=story.summary, rules=story.rules, scenario=story.scenario, params=params,
            right=story.right, request=cut(asked), offered=tuple(sorted(adapter.takes)), needs=story.needs,
            flow=story.flow, jobs=story.jobs, forge=story.forge, base=story.base, base_url=wanted.base_url, api=self.fake.origin,
            links=self.fake.link_origin, other_host=other_host.origin, callback_url=wanted.callback_url[:200],
            deadline=wanted.deadline, grace=wanted.grace, limit=wanted.limit, min_poll=wanted.min_poll,
            held_to=None if self.pace.given else self.pace.min_poll, bounded=adapter.bounded or self.pace.fixed,
            repeats=case.repeats,
        )  # fmt: skip
        note = Note(topic=Topic.CASE, who=case.key, case=case.name, data=about.data(), mono=self.recorder.mono())
        case.keep(note)

    def _drive(self, case: Case, wanted: RunRequest, adapter: Adapter, other_host: OtherHost) -> None:
        """Run the client as the story's flow has it, forging callbacks meanwhile."""
        with self._forging(case, wanted, other_host):
            for number, batch in enumerate(self._batches(case, wanted, other_host)):
                if case.door and number == OPEN_AGAIN:
                    case.door.open()
                with ThreadPoolExecutor(len(batch)) as pool:
                    results = list(pool.map(adapter.run, batch))
                case.stop.set()
                self._look_for_ids(case, batch, results)
                case.results += results

    @contextmanager
    def _forging(self, case: Case, wanted: RunRequest, other_host: OtherHost) -> Iterator[None]:
        """Forge callbacks while the block runs, and hear where the client listens, where either is to be done."""
        over = threading.Event()
        work = threading.Thread(target=self._forge, args=(case, wanted, other_host, over), daemon=True)
        if case.story.forge or wanted.speaks:
            work.start()
        try:
            yield
        finally:
            over.set()
            if work.is_alive():
                work.join(self.contract.timeout)

    def _look_for_ids(self, case: Case, batch: list[RunRequest], results: list[RunResult]) -> None:
        """Note where the ids of the case's tasks can be read now: the next batch may write more."""
        tasks = [str(task["id"]) for task in self._tasks(case)]
        for wanted, one in zip(batch, results, strict=True):
            one.places = {task: places_of(wanted, one, task) for task in tasks}

    def _batches(self, case: Case, wanted: RunRequest, other_host: OtherHost) -> list[list[RunRequest]]:
        """The orders of a flow: those of a batch run at once, batches one after the other."""
        match case.story.flow:
            case "twice":
                return [[wanted, self._again(wanted, other_host, 2, wanted.folder, wanted.begun)]]
            case "many":
                folders = [case.folder / f"work{job}" for job in range(2, case.story.jobs + 1)]
                for folder in folders:
                    folder.mkdir()
                more = [
                    self._again(wanted, other_host, job, folder, wanted.begun) for job, folder in enumerate(folders, 2)
                ]
                return [[wanted, *more]]
            case "killed":
                threading.Thread(target=self._kill, args=(case, wanted), daemon=True).start()
                return [[wanted], [self._again(wanted, other_host, 2, wanted.folder)]]
            case "again":
                return [[wanted], *([self._again(wanted, other_host, job, wanted.folder)] for job in (2, 3))]
        return [[wanted]]

    def _again(
        self, wanted: RunRequest, other_host: OtherHost, job: int, folder: Path, together: threading.Event | None = None
    ) -> RunRequest:
        """The same order once more, started with another, or by itself."""
        port = wanted.callback_port if folder == wanted.folder else free_port()
        fresh = replace(
            wanted, job=job, folder=folder, out=folder / wanted.out.name, stop=threading.Event(), up=threading.Event(),
            heard=threading.Event(), begun=threading.Event(), together=together, turn=(), listening=[], callback_port=port,
        )  # fmt: skip
        return self._dressed(fresh, other_host)

    def _kill(self, case: Case, wanted: RunRequest) -> None:
        """Stop the client as soon as its first read arrives, which is never answered: what it kept, it has kept by then."""
        if self.fake.watch.until(lambda: bool(case.seen.reads) or case.stop.is_set(), wanted.limit):
            wanted.stop.set()

    def _tasks(self, case: Case) -> list[dict[str, Any]]:
        """The case's tasks as the control protocol shows them."""
        try:
            return list(self.fake.control.of(case.key).call("GET", "/tasks")["tasks"])
        except ControlFailed:
            return []

    def _forge(self, case: Case, wanted: RunRequest, other_host: OtherHost, over: threading.Event) -> None:
        """Lead callbacks to where the client says it listens, and send the story's forged ones once there is a task."""
        control, own = self.fake.control.of(case.key), f"http://127.0.0.1:{wanted.callback_port}"

        def target() -> str:
            """Where the client listens; empty while it does not."""
            place = origin_in(wanted.listening[0]) if wanted.listening else own
            return place if listens(place) else ""

        wait_for(lambda: wanted.heard.is_set() or (case.story.forge and listens(own)), over)
        if wanted.listening:
            control.relays({origin_in(wanted.callback_url): origin_in(wanted.listening[0])})
        tasks: Any = wait_for(lambda: self._tasks(case), over) if case.story.forge else None
        origin = wait_for(target, over) if tasks else None
        if not origin:
            return
        forger = Forger(
            self.recorder, self._wire, case=case.name, url=wanted.callback_url, seconds=self.contract.timeout
        )
        shown = {"id": tasks[0]["id"], "model": self.contract.model, "object": "video.generation.task", "type": "video",
                 "created": int(tasks[0].get("created") or 0)}  # fmt: skip
        for event in forger.send(case.story.forge, origin, shown, other_host.origin + FORGED_VIDEO):
            case.keep(event)

    def _gathered(self, case: Case, *, final: bool) -> Ended:
        """Return the case with what the server saw and what was left, in order."""
        entries = self.fake.control.of(case.key).journal(self.fake.since)
        self._accounts |= {case.seen.account, *(str(entry["account"]) for entry in entries)}
        if case.story.base in SPELT:  # a path that the service does not have belongs to no account
            self._off_paths.add(case.seen.account)
            everything = self.fake.control.journal(self.fake.since)
            entries = [*entries, *(entry for entry in everything if carries(entry, case.seen.account))]
        seen = self._reader.events(entries, case=case.name, key=case.key)
        served = self._served(case)
        notes = [Note(topic=Topic.TOLD, who=case.key, case=case.name, data=results.data()) for results in case.results]
        with case.lock:
            live = list(case.events)
        ordered = sorted([*live, *seen], key=lambda event: event.mono)
        called = any(isinstance(event, Exchange) and event.url.startswith(self.fake.origin) for event in ordered)
        short: Short = "" if final else short_of_time(case, self.pace.limit_for(case.story))
        return Ended(case.story, tuple(case.results), (*ordered, *served, *notes), called, hooked(ordered), short)

    def keep(self, ended: Ended) -> Ended:
        """Record the events of a case that is not to be repeated."""
        with self._gathering:
            return replace(ended, events=tuple(self.recorder.add(event) for event in ended.events), short="")

    def _served(self, case: Case) -> list[Note]:
        """What the links of the case's tasks serve when nothing is wrong with them."""
        found = []
        for task in self._tasks(case):
            for link in task.get("links") or ():
                reply = self._wire.send("GET", self.fake.reached(link["url"]), [], None, Limits(5.0, _LAST_BYTE))
                if reply.status == 200 and not reply.lost and reply.body[4:8] == b"ftyp":
                    whole = self.recorder.answer(200, (), reply.body).body
                    data = {"task_id": task["id"], "url": link["url"], "size": whole.size, "sha256": whole.sha256}
                    found.append(Note(topic=Topic.SERVED, who=case.key, case=case.name, data=data))
        return found


def short_of_time(case: Case, limit: float) -> Short:
    """How a client that was given *limit* seconds ran out of them where it should have completed: so may a good one on a busy
    machine.
    """
    if case.story.right.completes is not True or not case.seen.reads:
        return ""
    for result in case.results:
        spent = result.ended == "itself" and result.exit not in (0, None) and result.seconds >= MOST_OF * limit
        if spent or (result.said or {}).get("outcome") == "gave_up":
            return "gave up"
    forced = any(result.ended == "deadline" and result.seconds < FORCED for result in case.results)
    return "cut short" if forced else ""
