"""A PostgreSQL of our own: a cluster in a temporary folder, on a socket and a port from the kernel, gone with the tests."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

_PATIENCE = 30


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs; None where none is installed."""
    found = shutil.which("initdb")
    folders = (
        [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    )
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def free_port() -> int:
    """Return a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """`with Cluster() as cluster: cluster.database()` gives the URL of a new, empty database."""

    def __init__(self, *, durable: bool = False, segment_megabytes: int = 16) -> None:
        """*durable*: commits wait for the disk, as in production. *segment_megabytes*: the size of its log's files."""
        self._durable, self._segment = durable, segment_megabytes
        self._count = 0

    def __enter__(self) -> Self:
        found = programs()
        assert found is not None, "PostgreSQL is not installed; scripts/setup-system installs it"
        self._programs = found
        self._folder = Path(tempfile.mkdtemp(prefix="kling-pg-"))
        self._data = self._folder / "data"
        if os.getuid() == 0:  # initdb refuses root
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        options = ["-U", "kling", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"]
        self._run("initdb", "-D", str(self._data), f"--wal-segsize={self._segment}", *options)
        self.port = free_port()
        self.start()
        return self

    def start(self) -> None:
        """Start the server, again after `stop`."""
        settings = [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"port={self.port}",
            "-c",
            f"unix_socket_directories={self._folder}",
        ]
        settings += ["-c", "max_connections=300"]
        if not self._durable:
            settings += ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        options = " ".join(settings)
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-l", log, "-w", "-t", str(_PATIENCE), "-o", options, "start")

    def stop(self, how: str = "immediate") -> None:
        """Stop the server: `immediate` is a crash, `fast` an orderly end."""
        self._run("pg_ctl", "-D", str(self._data), "-m", how, "-w", "stop")

    def limit(self, most: int | None) -> None:
        """Let no file of the server grow beyond so many bytes, as if the disk were full there; None lifts that."""
        server = int((self._data / "postmaster.pid").read_text().split()[0])
        stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat")]
        family = [int(stat.split()[0]) for stat in stats if int(stat.rpartition(")")[2].split()[1]) == server]
        program = shutil.which("prlimit")
        assert program is not None
        for pid in (server, *family):
            self._run(program, "--pid", str(pid), f"--fsize={'unlimited' if most is None else most}:unlimited")

    def database(self) -> str:
        """Return the URL of a new, empty database."""
        self._count += 1
        name = f"kling_{self._count}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "kling", name)
        return f"postgresql://kling@127.0.0.1:{self.port}/{name}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pid = self._data / "postmaster.pid"
        if pid.exists():
            os.kill(int(pid.read_text().split()[0]), signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.getuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/", check=False
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"
