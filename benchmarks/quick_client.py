"""A client that starts fast and waits no longer than it has to: what the lab's own time is measured with.

It is the jury's careful client (`tests/jury/clients/base.py`) with short patience for a call and waits that grow slowly.
"""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "jury" / "clients"))
from base import Client, Response, main


class Quick(Client):
    """Gives a call four seconds, and waits a little longer after each trouble, as much as shows."""

    agent = "quick-client/1"
    call_timeout = 4.0

    def next_wait(self) -> float:
        """The pause that it was given, and a little of its own, so that several do not read in step."""
        return self.pause * random.uniform(1.0, 1.2)

    def after_trouble(self, response: Response | None) -> float:
        """Longer each time; what the service asks for is kept."""
        asked = super().after_trouble(response)
        return asked if response is not None and response.status == 429 else self.pause * 1.15**self.errors


if __name__ == "__main__":
    sys.exit(main(Quick))
