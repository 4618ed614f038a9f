"""The lab's door: open, shut by the first marked request, and opened again on the same port."""

import socket
import threading

import pytest

from kling_contract.lab.door import Door


@pytest.fixture
def echo():
    """A server that says back what it hears; gives its origin."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    one, _ = listener.accept()
                except OSError:
                    return
                with one:
                    one.sendall(one.recv(1 << 16))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def said(door: Door, words: bytes) -> bytes:
    """What comes back through the door."""
    with socket.create_connection(("127.0.0.1", int(door.origin.rpartition(":")[2])), timeout=30) as one:
        one.sendall(words)
        return one.recv(1 << 16)


def test_a_door_shuts_at_the_marked_request_and_opens_again(echo: str) -> None:
    """The marked request itself passes; after it connections are refused, not cut, until the door is opened; then all pass."""
    with Door(echo, "POST /create ") as door:
        assert said(door, b"GET / ") == b"GET / "
        assert said(door, b"POST /create HTTP/1.1") == b"POST /create HTTP/1.1"
        with pytest.raises(ConnectionRefusedError):
            said(door, b"GET / ")
        door.open()
        assert said(door, b"POST /create ") == b"POST /create "
        assert said(door, b"GET / ") == b"GET / "
    with pytest.raises(ConnectionRefusedError):
        said(door, b"GET / ")
