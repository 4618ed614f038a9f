"""A client for kling-v3-turbo-image-to-video that never pays twice, never hammers and never saves half a file."""

from kling_client.client import Client
from kling_client.download import DownloadPolicy
from kling_client.errors import (
    ApiError,
    AuthError,
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

__all__ = [
    "ApiError",
    "AuthError",
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
]
