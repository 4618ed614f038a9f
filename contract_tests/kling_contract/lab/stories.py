"""Stories: what a client is put through and what is right at the end. Data files, filled in from the contract.

A story names the scenario that the fake follows, what the client is asked for, and the rules it can show. Every task
in it gets on each time it is read, so a story takes as long as the client makes it take.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import kling_openapi
from kling_common.documents import BadYaml, parse
from kling_contract.reading.contract import Contract
from kling_contract.rules.case_facts import Base, Flow, Forgery, Need, Right
from kling_contract.rules.verdicts import SetupError
from kling_openapi.model import Model

_EVERY = 1000
"""Creates that meet a story in which none is to be accepted."""
FOLDER = Path(__file__).with_name("stories")
RUNS = {"killed": 2, "again": 3}
"""Runs of a client that follow each other, by flow; one in all others."""
_PAUSE = 0.2
"""Seconds between reads of a client that hurries, as far as the order of stories is concerned."""
_RETRY_AFTER, _GIVES_UP = 6.0, 6.0
"""Seconds that a story asks to wait, and after which a client gives up: the usual ones, for the same purpose."""
PROMPT = "a breeze moves the grass"
"""What is asked for where a story is not about the prompt: a client may demand one."""


def lacking(model: Model, story: "Story") -> str:
    """Return why *story* is not one for *model*: it asks for a member that the model does not have; empty where it is."""
    own = kling_openapi.family().own
    lost = next((name for name in story.request if name in own.taken and name not in model.taken), None)
    if lost is not None:
        return f"the story asks for {lost}, which {model.name} does not have"
    meant = next((name for name in story.request if "callback" not in name and name in own.fields), None)
    return (
        f"the story is about {meant} of {own.name}; the client sends {model.name}"
        if meant and "CQ-10" in story.rules
        else ""
    )


class Story(BaseModel):
    """One story.

    rules: the ids that it can show. scenario: what the account's next creates follow; empty for nothing queued.
    request: members of the request that the client is asked for, besides the image. flow: `once`; `twice`, the same
    command at once for one file; `many`, *jobs* commands at once for files of their own; `killed`, ended by force after
    its create was answered and run again; `again`, run three times for one file, with connections
    refused from the first create to the end of the second run. base: where the client is led, the fake or one of two places that it must
    not talk to. share: of the deadline, where a story needs less of it or more. first: a client may take all its time, or more, so
    it starts early. canary: it runs before all others and shows whether the client calls the lab at all and registers callbacks.
    deadline_at_least: seconds of its deadline, where what it shows may come late. min_poll_at_least: seconds between reads, where a
    wait must be well above the noise of a machine. bare: it is about a request without a prompt.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    summary: str = Field(min_length=1)
    rules: tuple[str, ...] = Field(min_length=1)
    scenario: str = "poll-paced"
    params: dict[str, Any] = {}
    request: dict[str, Any] = {}
    right: Right = Right()
    needs: tuple[Need, ...] = ()
    flow: Flow = "once"
    jobs: int = Field(1, ge=1, le=20)
    forge: tuple[Forgery, ...] = ()
    base: Base = "fake"
    share: float = Field(1.0, gt=0, le=2)
    deadline_at_least: float = Field(0.0, ge=0)
    min_poll_at_least: float = Field(0.0, ge=0)
    bare: bool = False
    first: bool = False
    canary: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "Story":
        if (self.flow == "many") != (self.jobs > 1):
            raise ValueError("jobs go with the flow many")
        if self.forge and "webhook" not in self.needs:
            raise ValueError("forged callbacks need a receiver: needs: [webhook]")
        if (self.base != "fake") != ("base-url" in self.needs):
            raise ValueError("another base needs a client that can be led: needs: [base-url]")
        return self

    @property
    def times(self) -> int:
        """How many creates follow the scenario."""
        if self.right.creates == 0:
            return _EVERY
        return self.jobs if self.flow == "many" else 1 if self.flow in RUNS else 2

    @property
    def asks_to_wait(self) -> bool:
        """Whether a Retry-After that stands out is part of it."""
        return "{retry_after}" in self.params.values()

    @property
    def lasts(self) -> float:
        """Seconds that a client may take which does everything right and as fast as it may."""
        stages = (self.params.get("pending", 0), self.params.get("processing", 0))
        reads = 1 + sum(stage for stage in stages if isinstance(stage, int))
        seconds = reads * max(self.min_poll_at_least, _PAUSE)
        if self.asks_to_wait:
            seconds += _RETRY_AFTER
        if self.first and ("never" in stages or "forever" in self.params.values()):
            seconds = max(seconds, _GIVES_UP * self.share)
        return seconds * RUNS.get(self.flow, 1)

    @property
    def turn(self) -> tuple[float, ...]:
        """What comes first: the story that shows whether there is a client at all, then what takes even a good one long, the longest
        first, then what takes others long.
        """
        return not self.canary, -self.lasts, not self.first, -self.deadline_at_least, "webhook" not in self.needs


def load(contract: Contract, folder: Path = FOLDER) -> dict[str, Story]:
    """Every story of *folder* by name, in file order.

    Raises:
        SetupError: a file is no list of stories, or a name stands twice; the message names file and story.
    """
    found: dict[str, Story] = {}
    for path in sorted(folder.glob("*.yaml")):
        for story in read(path, contract):
            if story.name in found:
                raise SetupError(f"{path.name}: story {story.name} stands twice")
            found[story.name] = story
    return found


def read(path: Path, contract: Contract) -> list[Story]:
    """The stories of one file, a document each.

    Raises:
        SetupError: it cannot be read, or a document is no story.
    """
    try:
        found = [document.value for document in parse(path.read_text(encoding="utf-8"))]
        documents = [document for document in found if document]
    except (OSError, BadYaml, UnicodeDecodeError) as error:
        raise SetupError(f"{path.name}: not YAML that can be read: {' '.join(str(error).split())}") from error
    return [_story(path, document, contract) for document in documents]


def _story(path: Path, document: Any, contract: Contract) -> Story:
    try:
        if not isinstance(document, dict):
            raise SetupError(f"{path.name}: a story is a mapping, not {str(document)[:40]!r}")
        facts = contract.facts()
        return Story.model_validate({**document, "request": filled(document.get("request", {}), facts)})
    except (ValidationError, KeyError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else f"no such fact: {error}"
        raise SetupError(f"{path.name}: story {document.get('name')}: {what}") from error


def filled(value: Any, facts: Mapping[str, Any]) -> Any:
    """*value* with `{name}` replaced; a text that is nothing else keeps the fact's type. `{text: C, times: N}` repeats."""
    if isinstance(value, dict) and set(value) == {"text", "times"}:
        return str(value["text"]) * int(filled(value["times"], facts))
    if isinstance(value, dict):
        return {key: filled(item, facts) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    whole = value[1:-1] if value.startswith("{") and value.endswith("}") else ""
    return facts[whole] if whole in facts else value.format_map(dict(facts))


def serving(stories: Iterable[Story], rule_ids: Iterable[str]) -> list[Story]:
    """The stories that can show one of *rule_ids*."""
    wanted = set(rule_ids)
    return [story for story in stories if wanted & set(story.rules)]
