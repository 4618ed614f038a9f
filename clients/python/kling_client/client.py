"""The client: every call of an account, and from first frame to saved video as one call."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kling_client.calls import Calls
from kling_client.generation import Event, Generation, Video, Wishes
from kling_client.webhook import Receiver


class Client(Calls):
    """A client of one account; its arguments and its single calls are those of `calls.Calls`."""

    def generate(
        self,
        image: str | os.PathLike[str] | None,
        out: str | os.PathLike[str],
        *,
        idempotency_key: str | None = None,
        receiver: Receiver | None = None,
        on_event: Callable[[Event], None] | None = None,
        new: bool = False,
        overwrite: bool = False,
        **wishes: Any,
    ) -> Video:
        """Create a task, wait for it and save its video as *out*. What was begun for *out* before is resumed.

        The task's id is on disk next to *out* before the task is read for the first time, and *on_event* hears it.

        Args:
            image: URL or local file of the first frame; None for a model that needs none.
            out: the file; its folder must exist.
            idempotency_key: else a new one.
            receiver: hears callbacks, so that the wait ends early; polling goes on all the same.
            on_event: called with what happens.
            new: forget what was begun for *out* before, and create.
            overwrite: replace a file that is there.
            wishes: prompt, quality, duration, callback_url, extra; as `request` takes them.

        Raises:
            KlingError: any of the tree in `errors`.
        """
        asked = Wishes(image, wishes, idempotency_key, new=new, overwrite=overwrite)
        return Generation(self, Path(out), receiver=receiver, on_event=on_event).run(asked)


def generate(
    image: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    client: Client | None = None,
    model: str | None = None,
    on_event: Callable[[Event], None] | None = None,
    overwrite: bool = False,
    **wishes: Any,
) -> Video:
    """Make a video from a first frame and save it. Called again after an interruption, it goes on and creates nothing.

    Args:
        image: URL or local file of the first frame; None for a model that needs none.
        out: the file; its folder must exist.
        client: the account; else one made from KLING_API_KEY and KLING_BASE_URL.
        model: another model of the family, where *client* is not given; its further fields go into `extra`.
        on_event: called with what happens.
        overwrite: replace a file that is there.
        wishes: prompt, quality, duration, callback_url, extra, and the other arguments of `Client.generate`.

    Returns:
        The completed task, and the paths of its videos.

    Raises:
        KlingError: any of the tree in `errors`. `TaskFailed`, `GaveUp` and `CreateOutcomeUnknown` are the ones to expect.
    """
    return (client or Client(model=model)).generate(image, out, on_event=on_event, overwrite=overwrite, **wishes)
