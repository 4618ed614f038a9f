"""What the client remembers over runs: that it is at work, which task it made, and a create whose outcome it never learned."""

import contextlib
import fcntl
import uuid
from collections.abc import Iterator

from kling_contract.mutants.client.calls import End
from kling_contract.mutants.client.hearing import Hearing
from kling_contract.mutants.client.world import Lost


class Memory(Hearing):
    """Files next to the output file: `.lock` while a run is at work, `.task` once there is one, `.creating` before that."""

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other run works for the same file meanwhile."""
        with self.setup.out.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if not self.does("ignores-the-lock"):
                    raise End("refused", "busy", "another run is at work for this file") from None
            yield

    def _remembered(self) -> str:
        """Return the id of the task that an earlier run made for this file."""
        note = self.setup.out.with_suffix(".task")
        return note.read_text() if note.exists() else ""

    def _begun(self) -> str:
        """Write down that a create is sent; return its Idempotency-Key.

        Raises:
            End: an earlier run sent one and never learned its outcome.
        """
        note = self.setup.out.with_suffix(".creating")
        # Whoever ignores the lock ignores this note too: the run beside it may have written it.
        before = note.read_text() if note.exists() and not self.does("ignores-the-lock") else ""
        if before and not self.does("forgets-a-lost-create"):
            raise End("unknown", "earlier", f"an earlier create, {before}, may have been accepted")
        key = before or uuid.uuid4().hex
        note.write_text(key)
        return key

    def _lost(self, lost: Lost) -> None:
        """Keep what may have been accepted; an attempt that was surely not sent takes nothing back but itself."""
        if not lost.sent:
            self._over()

    def _over(self) -> None:
        """The outcome of the create is known."""
        self.setup.out.with_suffix(".creating").unlink(missing_ok=True)
