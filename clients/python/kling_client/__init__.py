"""A client for the video service that never pays twice, never polls too fast and never saves half a file.

Most callers need one function and three errors:

    from kling_client import CreateOutcomeUnknown, GaveUp, TaskFailed, generate

    video = generate("photo.jpg", "out.mp4", prompt="a breeze", duration=3)

- `generate` takes the account from KLING_API_KEY and KLING_BASE_URL. `Client` is the same with settings of its own
  (`PollPolicy`, `DownloadPolicy`, `Timeouts`), and in single steps: `create`, `get`, `wait`, `download`, `upload`, `credits`.
- `Video` and `Task` are what comes back, `Event` is what happens meanwhile.
- `KlingError` is the root of all errors; the tree is drawn in `kling_client.errors`.
- `Receiver` hears callbacks, `Once` is its ledger of effects, `listening` serves it.
- `FunctionTransport` and `Reply` are for tests: a scripted service without a socket.
"""

from typing import TYPE_CHECKING, Any

from kling_client.client import Client, generate
from kling_client.download import DownloadPolicy
from kling_client.errors import (
    ApiError,
    AuthError,
    BadSetting,
    BalanceError,
    Busy,
    ConfigError,
    CreateInterrupted,
    CreateOutcomeUnknown,
    DownloadError,
    GaveUp,
    Interrupted,
    KlingError,
    LinkExpired,
    NetworkError,
    NotAVideo,
    NotFound,
    PermissionDenied,
    RateLimited,
    RedirectRefused,
    RequestInvalid,
    ResultMissing,
    ServerError,
    TaskFailed,
    ValidationError,
)
from kling_client.generation import Event, Video
from kling_client.polling import PollPolicy
from kling_client.tasks import Task
from kling_client.transport import FunctionTransport, Reply, Timeouts
from kling_client.webhook import Once, Receiver

if TYPE_CHECKING:
    from kling_client.listener import listening

__all__ = [
    "ApiError",
    "AuthError",
    "BadSetting",
    "BalanceError",
    "Busy",
    "Client",
    "ConfigError",
    "CreateInterrupted",
    "CreateOutcomeUnknown",
    "DownloadError",
    "DownloadPolicy",
    "Event",
    "FunctionTransport",
    "GaveUp",
    "Interrupted",
    "KlingError",
    "LinkExpired",
    "NetworkError",
    "NotAVideo",
    "NotFound",
    "Once",
    "PermissionDenied",
    "PollPolicy",
    "RateLimited",
    "Receiver",
    "RedirectRefused",
    "Reply",
    "RequestInvalid",
    "ResultMissing",
    "ServerError",
    "Task",
    "TaskFailed",
    "Timeouts",
    "ValidationError",
    "Video",
    "generate",
    "listening",
]


def __getattr__(name: str) -> Any:
    """Load the server for callbacks on first use (PEP 562): most runs receive none."""
    if name != "listening":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kling_client.listener import listening

    return listening
