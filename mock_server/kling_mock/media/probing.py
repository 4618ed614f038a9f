"""Videos and sounds of others, read by a process of its own: what a few bytes make a reader do is bounded in memory and time.

A few hundred bytes of MP4 may name a hundred million samples, and FFmpeg makes a list of them all. A reader that breaks down takes
nothing with it either.
"""

import subprocess
import sys
from contextlib import suppress
from typing import Any

import orjson

from kling_mock.media import costs
from kling_mock.media.clips import BadClip, probe
from kling_openapi.media import Facts

MEMORY = 1 << 30
"""Bytes that such a process may take besides the file itself, its program included."""
SECONDS = 20
"""Seconds of a processor, and real seconds, that it may take."""


def probe_apart(data: bytes, kind: str) -> Facts:
    """Return what `clips.probe` returns.

    Raises:
        BadClip: it is no readable medium of its *kind*, or takes too much memory or time to read.
    """
    command = [sys.executable, "-m", __name__, kind, str(MEMORY + 2 * len(data)), str(SECONDS)]
    with costs.decoding:
        try:
            ran = subprocess.run(  # noqa: S603 - this module itself
                command, input=data, capture_output=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise BadClip(f"the {kind} takes too long to read") from error
    try:
        said: dict[str, Any] = orjson.loads(ran.stdout)
    except orjson.JSONDecodeError as error:  # it was ended by a limit, or broke down
        raise BadClip(f"the {kind} takes too much memory or time to read") from error
    if "wrong" in said:
        raise BadClip(said["wrong"])
    return Facts(**said)


def main(kind: str, memory: str, seconds: str) -> None:
    """Read a medium from standard input and write what it is to standard output."""
    with suppress(ImportError, ValueError, OSError):  # not every system has these limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        said = probe(sys.stdin.buffer.read(), kind)._asdict()
    except BadClip as error:
        said = {"wrong": str(error)}
    sys.stdout.buffer.write(orjson.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
