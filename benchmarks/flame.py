"""A flame graph of the fake while it is under load: `python benchmarks/flame.py query OUT.svg`, or `"create: Idempotency-Key"`.

Needs wrk, which `benchmarks/setup` installs, py-spy (`pip install py-spy`), and the right to look at another process.
"""

import re
import shutil
import subprocess
from pathlib import Path
from threading import Thread

import click
import paths
from load import LoadError, request_body, timed
from processes import ServerError
from speeds import FREE

import kling_openapi
from kling_mock import clock as clocks

_BEFORE = 1.0
"""Seconds of load before the first sample, and after the last."""


@click.command()
@click.argument("call")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--seconds", default=10, show_default=True, type=click.IntRange(1, 600), help="How long it looks.")
@click.option("--rate", default=200, show_default=True, type=click.IntRange(1, 1000), help="Samples a second.")
def main(call: str, out: Path, seconds: int, rate: int) -> None:
    """Draw where the time of CALL goes, one of the calls of docs/benchmarks.md, into OUT."""
    if shutil.which("py-spy") is None:
        raise click.UsageError("py-spy is not installed: pip install py-spy")
    body = request_body(kling_openapi.read(kling_openapi.SERVICE))
    try:
        with paths.fake() as serving:
            calls = paths.calls_of(serving, body)
            if call not in calls:
                raise click.UsageError(f"no such call: {call}; there are {', '.join(map(repr, calls))}")
            looks = Thread(target=lambda: _draw(serving.watched.pid, out, seconds, rate, call))
            looks.start()
            timed(serving.watched, serving.base, calls[call], seconds + 2 * _BEFORE, FREE)
            looks.join()
    except (LoadError, ServerError) as error:
        raise click.ClickException(str(error)) from error
    if not out.exists():
        raise click.ClickException("py-spy drew nothing: may it look at another process?")
    click.echo(out)


def _draw(pid: int, out: Path, seconds: int, rate: int, call: str) -> None:
    clocks.pause(_BEFORE)
    options = ["--pid", str(pid), "--duration", str(seconds), "--rate", str(rate), "--output", str(out)]
    try:
        subprocess.run(["py-spy", "record", *options], capture_output=True, check=True, timeout=seconds + 60)
    except (OSError, subprocess.SubprocessError):
        return
    out.write_text(re.sub(r">py-spy record [^<]*<", f">kling-mock: {call}<", out.read_text()))


if __name__ == "__main__":
    main()
