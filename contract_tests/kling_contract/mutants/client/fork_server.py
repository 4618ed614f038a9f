"""`python -m kling_contract.mutants.client.fork_server SOCKET`: clients by fork, without importing everything anew for each.

The other end of SOCKET sends one message a client: JSON with its words, folder and environment, and with it two descriptors, for
standard output and standard error. It is sent "started NUMBER PID", later "ended PID CODE", with the code as `subprocess` gives it.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from typing import Any

from kling_contract.mutants.client.__main__ import main

MOST = 1 << 20
"""Bytes of one message."""


def serve(link: socket.socket) -> None:
    """Start clients until the other end has gone."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([link.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _collect(link)
        if link.fileno() in ready:
            data, descriptors, _, _ = socket.recv_fds(link, MOST, 2)
            if not data:
                return
            wanted = json.loads(data)
            link.sendall(
                f"started {wanted['number']} {_fork(wanted, descriptors, (link.fileno(), woken, wakes))}\n".encode()
            )


def _collect(link: socket.socket) -> None:
    """Say which clients have ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            link.sendall(f"ended {pid} {os.waitstatus_to_exitcode(status)}\n".encode())


def _fork(wanted: dict[str, Any], descriptors: list[int], own: tuple[int, ...]) -> int:
    """Start a client in a session of its own; return its process id once it has one."""
    begun, begins = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        os.write(begins, b".")
        for place, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), *descriptors)):
            os.dup2(descriptor, place)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in (*own, *descriptors, begun, begins):
            os.close(descriptor)
        os._exit(_run(wanted))
    os.read(begun, 1)
    for descriptor in (*descriptors, begun, begins):
        os.close(descriptor)
    return pid


def _run(wanted: dict[str, Any]) -> int:
    """Be the client; return its exit code."""
    code: Any = 1
    try:
        os.chdir(wanted["folder"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        sys.argv[1:] = wanted["words"]
        code = main()
    except KeyboardInterrupt:
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code if isinstance(code, int) else 1


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
