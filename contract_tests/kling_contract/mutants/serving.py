"""Correct servers to break: `kling-mock` as a process of its own, with options and with another contract where asked."""

import copy
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

import kling_openapi
from kling_common.launch import Launched, NotReady
from kling_contract.driving.sender import Sender
from kling_contract.lab.fake import SERVE
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


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs: its URL, and the quickest way there."""

    url: str
    sender: Sender = field(default_factory=Sender)


@contextmanager
def served(mutant: Mutant, correct: str) -> Iterator[Served]:
    """*mutant*, at work; *correct* is a server that mutants share that need none of their own."""
    with ExitStack() as stack:
        base = stack.enter_context(_own(mutant)) if mutant.alone else correct
        if mutant.alone and not mutant.proxied:
            yield Served(base)
            return
        proxy = stack.enter_context(Proxy(base, mutant.switches))
        yield Served(proxy.url) if mutant.on_the_wire else Served(proxy.url, Direct(proxy))


@contextmanager
def _own(mutant: Mutant) -> Iterator[str]:
    options = [word for switch in mutant.switches for word in switch.serve]
    patches = [switch.patch for switch in mutant.switches if switch.patch is not None]
    with tempfile.TemporaryDirectory(prefix="kling-mutant-") as folder:
        if patches:
            path = Path(folder) / "contract.yaml"
            path.write_text(patched(patches), encoding="utf-8")
            options += ["--contract", str(path)]
        with fake(options) as url:
            yield url
