"""The terminal of `kling-mock serve`: a line on standard error for each request, callback attempt, render and refusal.

Lines are made and written in a thread of their own, so that a slow terminal, or a pipe that is never read, delays no request. A line after
a pause is written at once, and those of the next moment together: each time that thread wakes, one that answers requests waits for it.
When more waits than can be written, the newest lines are left out and counted.
"""

import json
import threading
from collections import deque
from typing import IO

import click

from kling_mock.store.journal import Entry, Journal, as_json
from kling_mock.store.lines import Line, lines, time_of

_WAITING = 5_000
_MOMENT = 0.05
_COLOURS = {True: "green", False: "red", None: "blue"}


class Terminal:
    """Writes the entries of *journal* to *stream* from now on."""

    def __init__(self, journal: Journal, stream: IO[str], *, as_json: bool = False, colour: bool | None = None) -> None:
        """*colour*: None decides by whether *stream* is a terminal."""
        self._journal, self._stream, self._as_json = journal, stream, as_json
        self._colour = stream.isatty() if colour is None else colour
        self._waiting: deque[Entry] = deque()
        self._left_out = 0
        self._work = threading.Condition()
        self._open = True
        self._idle = False
        self._thread = threading.Thread(target=self._write, name="terminal", daemon=True)
        self._thread.start()
        journal.listener = self.show

    def show(self, entry: Entry) -> None:
        """Queue one entry; never blocks."""
        with self._work:
            if len(self._waiting) < _WAITING:
                self._waiting.append(entry)
            else:
                self._left_out += 1
            if self._idle:
                self._work.notify()

    def close(self, patience: float = 1.0) -> None:
        """Write what waits, for at most *patience* seconds."""
        with self._work:
            self._open = False
            self._work.notify()
        self._thread.join(patience)

    def _write(self) -> None:
        while True:
            with self._work:
                self._idle = True
                self._work.wait_for(lambda: self._waiting or not self._open)
                self._idle = False
                if not self._waiting:
                    return
                entries, left_out = list(self._waiting), self._left_out
                self._waiting.clear()
                self._left_out = 0
            try:
                written = [
                    self._written(line) for entry in entries for line in lines(as_json(self._journal.cleaned(entry)))
                ]
                if left_out:
                    written.append(self._note(left_out))
                self._stream.write("\n".join([*written, ""]))
                self._stream.flush()
            except (OSError, ValueError):  # closed: requests go on without lines
                return
            with self._work:
                self._work.wait_for(lambda: not self._open, _MOMENT)

    def _written(self, line: Line) -> str:
        if self._as_json:
            return json.dumps(line.as_json())
        text = f"{time_of(line.at)}  {line.text()}"
        return click.style(text, fg=_COLOURS[line.good]) if self._colour and line.good is not True else text

    def _note(self, left_out: int) -> str:
        return json.dumps({"kind": "left_out", "lines": left_out}) if self._as_json else f"({left_out} lines left out)"
