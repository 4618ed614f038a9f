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

Names are loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from kling_client.listener import listening
    from kling_client.polling import PollPolicy
    from kling_client.tasks import Task
    from kling_client.transport import FunctionTransport, Reply, Timeouts
    from kling_client.webhook import Once, Receiver

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

_HOMES = {
    "ApiError": "kling_client.errors",
    "AuthError": "kling_client.errors",
    "BadSetting": "kling_client.errors",
    "BalanceError": "kling_client.errors",
    "Busy": "kling_client.errors",
    "Client": "kling_client.client",
    "ConfigError": "kling_client.errors",
    "CreateInterrupted": "kling_client.errors",
    "CreateOutcomeUnknown": "kling_client.errors",
    "DownloadError": "kling_client.errors",
    "DownloadPolicy": "kling_client.download",
    "Event": "kling_client.generation",
    "FunctionTransport": "kling_client.transport",
    "GaveUp": "kling_client.errors",
    "Interrupted": "kling_client.errors",
    "KlingError": "kling_client.errors",
    "LinkExpired": "kling_client.errors",
    "NetworkError": "kling_client.errors",
    "NotAVideo": "kling_client.errors",
    "NotFound": "kling_client.errors",
    "Once": "kling_client.webhook",
    "PermissionDenied": "kling_client.errors",
    "PollPolicy": "kling_client.polling",
    "RateLimited": "kling_client.errors",
    "Receiver": "kling_client.webhook",
    "RedirectRefused": "kling_client.errors",
    "Reply": "kling_client.transport",
    "RequestInvalid": "kling_client.errors",
    "ResultMissing": "kling_client.errors",
    "ServerError": "kling_client.errors",
    "Task": "kling_client.tasks",
    "TaskFailed": "kling_client.errors",
    "Timeouts": "kling_client.transport",
    "ValidationError": "kling_client.errors",
    "Video": "kling_client.generation",
    "generate": "kling_client.client",
    "listening": "kling_client.listener",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
