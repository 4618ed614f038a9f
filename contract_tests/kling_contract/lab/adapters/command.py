"""The default adapter: a command line with placeholders and variables."""

import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from kling_common.masking import Mask
from kling_contract.history.events import wall
from kling_contract.lab import process
from kling_contract.lab.results import CANNOT, RunRequest, RunResult, described, found_in, last, small_texts
from kling_contract.lab.start_limiter import STARTS
from kling_contract.lab.stories import Story, lacking
from kling_contract.reading.contract import Contract
from kling_contract.rules.verdicts import SetupError

PLACEHOLDERS = (
    "base_url", "api_key", "image", "prompt", "quality", "duration", "out", "callback_url", "callback_port", "deadline",
    "min_poll", "model",
)  # fmt: skip
_OPTIONS = frozenset({"prompt", "quality", "duration"})
_HOLE = re.compile(r"\{([a-z_]+)\}")
RESULT = "result.json"
"""Name of the result file, outside the client's own folder."""
_RESULT_CAP = 1 << 20


class CommandAdapter:
    """Runs `command`, a process a case. Placeholders are filled in; variables say the same.

    here: the folder that relative paths in the command are relative to; each case has a working folder of its own. start: what
    starts a process, for a command that need not be started anew each time.

    Raises:
        SetupError: there is no such program, or an unknown placeholder.
    """

    parallel = 1000
    speaks = False
    bounded = False
    min_poll: float | None = None

    def __init__(
        self, command: Sequence[str], contract: Contract, here: Path | None = None, start: process.Start | None = None
    ) -> None:
        self.command = rooted(command, here or Path.cwd())
        self._start = start
        self._contract = contract
        holes = frozenset(hole for word in command for hole in _HOLE.findall(word))
        self.takes, self.bounded = holes & _OPTIONS, "deadline" in holes
        unknown = sorted({hole for word in command for hole in _HOLE.findall(word)} - set(PLACEHOLDERS))
        if unknown:
            raise SetupError(f"no such placeholder: {{{unknown[0]}}}; there are {', '.join(PLACEHOLDERS)}")

    def unable(self, story: Story) -> str:
        """A command line has no words for a member that the contract does not name."""
        if "aspect-ratio" in story.needs and not any("aspect" in word for word in self.command):
            return "a command has no placeholder for aspect_ratio; --adapter jsonl has"
        return "" if self._contract.asked is None else lacking(self._contract.asked, story)

    def run(self, wanted: RunRequest) -> RunResult:
        """Run the command for *order*.

        Raises:
            SetupError: it cannot be started.
        """
        said_in = wanted.folder.parent / f"{wanted.job}-{RESULT}"
        mark = f"KLING_CASE_TOKEN={secrets.token_hex(8)}"
        environment = {**wanted.environment, "KLING_RESULT": str(said_in), **dict([mark.split("=", 1)])}
        needles = spellings(wanted.api_key)
        STARTS.take(wanted)
        wanted.begun.set()
        if wanted.stop.is_set():
            wanted.up.set()
            return RunResult(job=wanted.job, ended="on purpose")
        began = wall().at
        try:
            ran = process.run(
                self._words(wanted), folder=wanted.folder, environment=environment, patience=wanted.limit or wanted.deadline + wanted.grace,
                stop=wanted.stop, late=lambda: _late(wanted, began), needles=needles, mark=mark, start=self._start,
            )  # fmt: skip
        finally:
            wanted.up.set()
        said, broken = result_of(said_in)
        result = RunResult(
            job=wanted.job, exit=ran.exit, signal=ran.signal, ended=ran.ended, seconds=ran.seconds, children=ran.children,
            stdout=last(bytes(ran.stdout.kept)), stderr=last(bytes(ran.stderr.kept)),
            output_bytes=ran.stdout.size + ran.stderr.size, said=said, broken=broken,
        )  # fmt: skip
        result.leaks += [name for name, tap in (("stdout", ran.stdout), ("stderr", ran.stderr)) if tap.found]
        if ran.exit == CANNOT:
            words = (result.stderr or result.stdout).strip().splitlines()
            result.cannot = words[-1][-200:] if words else f"exit code {CANNOT}"
        look_around(wanted, result)
        return result

    def close(self) -> None:
        """Nothing outlives a case."""

    def _words(self, wanted: RunRequest) -> list[str]:
        values = self._values(wanted)
        return [_HOLE.sub(lambda hole: values[hole[1]], word) for word in self.command]

    def _values(self, wanted: RunRequest) -> dict[str, str]:
        asked, contract = wanted.request, self._contract
        return {
            "base_url": wanted.base_url,
            "api_key": wanted.api_key,
            "image": wanted.image,
            "prompt": str(asked.get("prompt", "")),
            "quality": str(asked.get("quality", contract.default("quality"))),
            "duration": str(asked.get("duration", contract.default("duration"))),
            "out": str(wanted.out),
            "callback_url": wanted.callback_url,
            "callback_port": str(wanted.callback_port),
            "deadline": f"{wanted.deadline:g}",
            "min_poll": f"{wanted.min_poll:g}",
            "model": contract.asked.name if contract.asked else contract.model,
        }


def _late(wanted: RunRequest, began: float) -> float:
    """Seconds from *began* to the client's first call; as long as the grace where there was none."""
    first = wanted.first_call()
    return wanted.grace if first is None else first - began


def rooted(command: Sequence[str], here: Path) -> list[str]:
    """*command* with its program, and words that are files, as absolute paths: it runs in a folder of its own.

    Words without a slash are taken for files only right after the program, where an interpreter's script stands.

    Raises:
        SetupError: there is no such program.
    """
    program = command[0]
    path = here / program
    if "/" in program and path.is_file():
        found: str | None = str(path)
    else:
        found = shutil.which(program)
    if found is None:
        raise SetupError(f"{program}: there is no such command")
    rest = [
        str(here / word) if "{" not in word and ("/" in word or place == 1) and (here / word).is_file() else word
        for place, word in enumerate(command[1:], 1)
    ]
    return [found, *rest]


def spellings(key: str) -> list[bytes]:
    """The key as it may stand in an output."""
    return [text.encode() for text in Mask.spellings(key)]


def look_around(wanted: RunRequest, result: RunResult) -> None:
    """Note the files that were left, and the key in them."""
    files = found_in(wanted.folder, wanted.out)
    result.files = described(wanted.folder, files)
    needles = spellings(wanted.api_key)
    for name, text in small_texts(wanted.folder, files).items():
        if any(needle in text for needle in needles):
            result.leaks.append(name)


class Result(BaseModel):
    """What a client says of its request, in KLING_RESULT or as `done`; whatever else it says is its own affair."""

    model_config = ConfigDict(strict=True)
    outcome: str | None = None
    task_id: str | None = None
    effects: int | None = None
    error: dict[str, Any] | str | None = None
    files: list[dict[str, Any]] = []


def result_of(path: Path) -> tuple[dict[str, Any] | None, str]:
    """What the result file says, None where there is none; and what is wrong with it."""
    try:
        with path.open("rb") as file:
            text = file.read(_RESULT_CAP)
    except OSError:
        return None, ""
    try:
        return known(orjson.loads(text)), ""
    except ValueError as error:  # not JSON, or not a result
        return None, f"KLING_RESULT: {error}"


def known(found: Any) -> dict[str, Any]:
    """The members of a result that mean something.

    Raises:
        ValueError: one of them is not what it should be; the message names it.
    """
    try:
        return Result.model_validate(found).model_dump(exclude_unset=True)
    except ValidationError as error:
        result = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, result['loc'])) or 'the result'}: {result['msg']}") from None
