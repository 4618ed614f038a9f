"""The Flask application of a fake, made when a request first needs it: many a fake is stopped before one does."""

from threading import Lock
from typing import TYPE_CHECKING

from kling_mock.web.parts import Fake

if TYPE_CHECKING:
    from flask import Flask


class Application:
    """Makes the application once, in the thread of the request that needs it: importing Flask takes longer than all else here."""

    def __init__(self, fake: Fake) -> None:
        self._fake = fake
        self._lock = Lock()
        self._made: Flask | None = None

    def __call__(self) -> "Flask":
        """Return the application."""
        with self._lock:
            if self._made is None:
                from kling_mock.web.flask_app import flask_app

                self._made = flask_app(self._fake)
            return self._made
