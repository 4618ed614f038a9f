"""Ends a connection at a given time, however slowly the other side speaks."""

import contextlib
import socket
import threading


class Alarm:
    """Shuts the watched socket down after so many seconds, which ends whatever waits for it.

    A timeout of a socket counts from one byte to the next: a peer that sends a byte now and then is never late.
    """

    def __init__(self, seconds: float) -> None:
        self._guard = threading.Lock()
        self._socket: socket.socket | None = None
        self.rang = False
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, connection: socket.socket) -> None:
        """Watch *connection* from now on."""
        with self._guard:
            self._socket = connection
            if self.rang:
                self._shut_down()

    def stop(self) -> None:
        """Let the connection live."""
        self._timer.cancel()
        with self._guard:
            self._socket = None

    def _ring(self) -> None:
        """Time is up."""
        with self._guard:
            self.rang = True
            self._shut_down()

    def _shut_down(self) -> None:
        """End the connection; reading it sees its end."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
