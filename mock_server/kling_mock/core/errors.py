"""The failures that the contract documents, one class each.

Status, code and type stand in the contract under `components.responses`, where each class finds its entry by its own name.
"""


class ApiError(Exception):
    """A failure that the contract documents; one place renders them all.

    Args:
        message: what was seen and what would be right, one line.
        param: the request field at fault, where there is one.
        headers: more headers for the answer, such as Retry-After.
    """

    def __init__(self, message: str, *, param: str | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers = headers or {}

    @property
    def entry(self) -> str:
        """Name of the response in the contract."""
        return type(self).__name__


class InvalidRequest(ApiError):
    """The body is not JSON, or breaks the schema."""


class InvalidTaskId(ApiError):
    """The id in the path does not begin as task ids do."""


class Unauthorized(ApiError):
    """The key is missing, malformed or unknown."""


class InsufficientQuota(ApiError):
    """The balance does not cover the reservation."""


class ModelAccessDenied(ApiError):
    """The key may not use the model."""


class PermissionDenied(ApiError):
    """The task belongs to another account."""


class TaskNotFound(ApiError):
    """No task has this id."""


class FileNotFound(ApiError):
    """No file has this id."""


class FileRefused(ApiError):
    """An upload cannot be taken. *why* names the finer number of the contract's `FileError`, where there is one."""

    def __init__(self, message: str, *, why: str = "", param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.why = why


class FileUnauthorized(ApiError):
    """The key is missing, malformed or unknown, as the file host says it."""


class FileRateLimited(ApiError):
    """Too many requests, as the file host says it."""


class FileFailed(ApiError):
    """The file host failed: there is no room for an upload."""

    why = "storage"


class RouteNotFound(ApiError):
    """No such path."""


class MethodNotAllowed(ApiError):
    """The path exists, but not for this method."""


class IdempotencyConflict(ApiError):
    """The Idempotency-Key was used with another body."""


class RequestTooLarge(ApiError):
    """The body is larger than the service takes."""


class UnsupportedMediaType(ApiError):
    """The Content-Type is not the one the operation takes."""


class RateLimited(ApiError):
    """Too many requests, as the create says it."""


class QueryRateLimited(ApiError):
    """Too many requests, as the query says it."""


class QueryQuotaExceeded(ApiError):
    """The query's own form of 402; only a scenario makes it."""


class InternalError(ApiError):
    """The service failed: a scenario says so, or the fake has no room for an upload."""


class UpstreamError(ApiError):
    """The provider failed; only a scenario makes it."""


class ServiceUnavailable(ApiError):
    """The service is down; only a scenario makes it."""


def documented() -> dict[str, type[ApiError]]:
    """Every documented failure by the name of its entry in the contract."""
    return {error.__name__: error for error in ApiError.__subclasses__()}
