"""Correct servers to break: `kling-mock`, in a process of its own or called in this one, with another contract where asked."""

import copy
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml

import kling_openapi
from kling_common.launch import Launched, NotReady
from kling_contract.driving.sender import Sender
from kling_contract.lab.fake import SERVE
from kling_contract.mutants.called import Called, application
from kling_contract.mutants.mutant import Mutant, Patch
from kling_contract.mutants.proxy import Direct, Proxy
from kling_contract.rules.verdicts import SetupError

_PATIENCE = 60.0


@contextmanager
def fake(options: Sequence[str] = ()) -> Iterator[str]:
    """A fake on a free port, with *options* of `kling-mock serve`; gives its URL.

    Raises:
        SetupError: it did not start; one line says why.
    """
    try:
        with Launched([*SERVE, "--port", "0", *options], patience=_PATIENCE) as process:
            yield str(process.ready["url"])
    except NotReady as error:
        raise SetupError(f"kling-mock did not start: {str(error) or 'no word'}") from error


def patched(patches: Iterable[Patch]) -> str:
    """The shipped contract with *patches*, as YAML."""
    document = copy.deepcopy(kling_openapi.read(kling_openapi.SERVICE))
    for patch in patches:
        patch(document)
    return yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)


Correct = str | Called
"""A correct server: where it listens, or the application to call."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs: its URL, and the quickest way there."""

    url: str
    sender: Sender = field(default_factory=Sender)


@contextmanager
def served(mutant: Mutant, correct: Correct) -> Iterator[Served]:
    """*mutant*, at work; *correct* is a server that mutants share that need none of their own, which are of its kind."""
    with ExitStack() as stack:
        base = stack.enter_context(_own(mutant, called=isinstance(correct, Called))) if mutant.alone else correct
        if isinstance(base, str) and not mutant.proxied:
            yield Served(base)
            return
        upstream, wire = (base, None) if isinstance(base, str) else (base.url, base)
        proxy = stack.enter_context(Proxy(upstream, mutant.switches, wire))
        yield Served(proxy.url) if mutant.on_the_wire else Served(proxy.url, Direct(proxy))


@contextmanager
def _own(mutant: Mutant, *, called: bool) -> Iterator[Correct]:
    settings: dict[str, Any] = {}
    for switch in mutant.switches:
        settings |= switch.settings
    patches = [switch.patch for switch in mutant.switches if switch.patch is not None]
    with tempfile.TemporaryDirectory(prefix="kling-mutant-") as folder, ExitStack() as stack:
        if patches:
            settings["contract"] = Path(folder) / "contract.yaml"
            settings["contract"].write_text(patched(patches), encoding="utf-8")
        yield stack.enter_context(application(**settings)) if called else stack.enter_context(fake(_options(settings)))


def _options(settings: Mapping[str, Any]) -> list[str]:
    """*settings* as words of a command line."""
    words: list[str] = []
    for name, value in settings.items():
        given = value if name == "service_settings" else {"": value}
        for member, each in given.items():
            words += ["--set", f"{member}={orjson.dumps(each).decode()}"] if member else [f"--{name}", str(each)]
    return words
