"""The client's side of a recording: its command, run where the user runs it, with variables that lead it to the proxy."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from kling_contract.rules.verdicts import SetupError

_LAST_WORDS = 5.0


def run(command: Sequence[str], variables: Mapping[str, str], base_url: str) -> int:
    """Run *command* to its end and return its exit code; `{base_url}` in it is filled in. It speaks to the user's own terminal.

    Raises:
        SetupError: it cannot be started. KeyboardInterrupt: the user stopped it, and it has ended.
    """
    words = [word.replace("{base_url}", base_url) for word in command]
    try:
        process = subprocess.Popen(words, env={**os.environ, **variables})  # noqa: S603 - the user's own command
    except OSError as error:
        raise SetupError(f"{words[0]}: cannot be started: {error.strerror}") from error
    try:
        return process.wait()
    except BaseException:
        _end(process)
        raise


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(OSError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_LAST_WORDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
