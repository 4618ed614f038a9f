"""Everything that can go wrong, as one tree.

KlingError
├── ConfigError               the client cannot be set up: base URL, key, certificates
│   └── BadSetting            a number that was set makes no sense
├── RequestInvalid            refused here, nothing was sent: the contract forbids it
├── Busy                      another run is making the same file
├── ApiError                  the service answered with an error; nothing was created
│   ├── ValidationError       400, 409, 413, 415, 422
│   ├── AuthError             401
│   ├── BalanceError          402
│   ├── PermissionDenied      403
│   ├── NotFound              404
│   ├── RateLimited           429; `retry_after` in seconds
│   ├── RedirectRefused       3xx: an API call follows no redirect
│   └── ServerError           5xx, or an answer that cannot be read
├── NetworkError              no answer; `sent` says whether the request may have arrived
├── CreateOutcomeUnknown      a create that may have been accepted: look before creating again
├── TaskFailed                the task ended as failed or cancelled; nothing is charged
├── GaveUp                    the deadline passed; the task may still be running
├── Interrupted               the user or the system asked this process to stop
│   └── CreateInterrupted     while a create was on its way: it may have been accepted
├── ResultMissing             completed, but without a usable link
└── DownloadError             the video exists, but could not be saved
    ├── LinkExpired           403, 404 or 410 from the link
    └── NotAVideo             the link served something else
"""

from typing import Any, ClassVar


class KlingError(Exception):
    """Whatever this package raises. The message is one line, for people, and never holds the API key."""

    outcome: ClassVar[str] = "failed"
    """The word for the result file: completed, failed, refused, gave_up or unknown."""
    kind: ClassVar[str] = "error"
    """The class of the error in the result file."""
    exit_code: ClassVar[int] = 1
    """What the command line exits with."""
    task_id: str | None = None
    """The task that it is about, where there is one."""

    def facts(self) -> dict[str, Any]:
        """What a program wants to know, as JSON members: class and message at least."""
        return {"class": self.kind, "message": str(self)}


class ConfigError(KlingError):
    """The client cannot be set up like this."""

    outcome = "refused"
    kind = "config"
    exit_code = 2


class BadSetting(ConfigError, ValueError):
    """A number that the caller set makes no sense: a wait of no length, less than one attempt."""


class RequestInvalid(KlingError):
    """The request breaks the contract, so it was not sent. `param` names the field at fault, where there is one."""

    outcome = "refused"
    kind = "invalid"
    exit_code = 4

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param

    def facts(self) -> dict[str, Any]:
        """Adds `param`."""
        return {**super().facts(), "param": self.param}


class Busy(KlingError):
    """Another run holds the lock of the same output file."""

    outcome = "refused"
    kind = "busy"
    exit_code = 9


class ApiError(KlingError):
    """The service answered an error. Both dialects of its error body are read.

    `status` is the HTTP status; `code` the string of the current dialect or the integer of the older one, None where
    the body has none; `type`, `param` and `fallback_suggestion` as the body says; `request_id` from the headers.
    """

    outcome = "refused"
    kind = "api"
    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | int | None = None,
        type: str | None = None,  # noqa: A002 - the service's own word
        param: str | None = None,
        request_id: str | None = None,
        fallback_suggestion: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.type = type
        self.param = param
        self.request_id = request_id
        self.fallback_suggestion = fallback_suggestion
        self.retry_after = retry_after

    def facts(self) -> dict[str, Any]:
        """Adds status, code, type, param and request_id."""
        about = {"status": self.status, "code": self.code, "type": self.type, "param": self.param}
        return {**super().facts(), **about, "request_id": self.request_id}


class ValidationError(ApiError):
    """The service refuses the request as it is; sending it again unchanged is of no use."""

    kind = "invalid"


class AuthError(ApiError):
    """401: the key is missing, malformed or unknown."""

    kind = "auth"


class BalanceError(ApiError):
    """402: the balance does not cover the task."""

    kind = "balance"


class PermissionDenied(ApiError):
    """403: the key may not use the model, or the task is another account's."""

    kind = "permission"


class NotFound(ApiError):
    """404: no such task, or expired; or no such path."""

    kind = "not_found"


class RateLimited(ApiError):
    """429: too many requests. `retry_after` is seconds, None where the service does not say."""

    kind = "rate"


class RedirectRefused(ApiError):
    """3xx: following it could carry the key or a paid create to another host."""

    kind = "redirect"


class ServerError(ApiError):
    """5xx, or an answer that is not the JSON it should be."""

    outcome = "failed"
    kind = "server"
    exit_code = 7


class NetworkError(KlingError):
    """No answer: refused, cut, timed out, no such host, bad certificate. `sent` is False when nothing of it left."""

    kind = "network"
    exit_code = 7

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class CreateOutcomeUnknown(KlingError):
    """A create was sent and its outcome is not known: it may have been accepted and charged.

    `idempotency_key` is the key that it carried: the same request with the same key cannot be charged twice where the
    service honours it (grade C). `cause` is what happened instead of an answer.
    """

    outcome = "unknown"
    kind = "unknown"
    exit_code = 6

    def __init__(self, message: str, *, idempotency_key: str, cause: KlingError | None = None) -> None:
        super().__init__(message)
        self.idempotency_key = idempotency_key
        self.cause = cause

    def facts(self) -> dict[str, Any]:
        """Adds the Idempotency-Key and the cause."""
        return {
            **super().facts(),
            "idempotency_key": self.idempotency_key,
            "cause": self.cause.facts() if self.cause else None,
        }


class TaskFailed(KlingError):
    """Failed or cancelled. `code` and `message` are the service's; `retryable` is the contract's word on the code."""

    kind = "task"
    exit_code = 3

    def __init__(self, task_id: str, code: str | None, message: str | None, *, retryable: bool) -> None:
        super().__init__(f"{task_id} failed: {code or 'no code'}: {message or 'the service gives no reason'}")
        self.task_id = task_id
        self.code = code
        self.message = message
        self.retryable = retryable

    def facts(self) -> dict[str, Any]:
        """The service's code and message, and whether a new task may succeed."""
        return {"class": self.kind, "code": self.code, "message": self.message, "retryable": self.retryable}


class GaveUp(KlingError):
    """The deadline passed first. The task goes on at the service and can be resumed by its id."""

    outcome = "gave_up"
    kind = "deadline"
    exit_code = 5

    def __init__(self, task_id: str, waited: float, last: str) -> None:
        super().__init__(
            f"gave up on {task_id} after {waited:.3g} s ({last}); the task may still be running: kling resume {task_id}"
        )
        self.task_id = task_id


class Interrupted(KlingError):
    """Ctrl-C or SIGTERM."""

    outcome = "gave_up"
    kind = "interrupted"
    exit_code = 10


class CreateInterrupted(Interrupted):
    """The same, between a create and its answer."""

    outcome = "unknown"


class ResultMissing(KlingError):
    """The task lists no usable link: it is completed without one, or is not completed."""

    kind = "result"
    exit_code = 8

    def __init__(self, task_id: str, why: str) -> None:
        super().__init__(f"{task_id} {why}")
        self.task_id = task_id


class DownloadError(KlingError):
    """The video could not be saved; nothing stands under the final name."""

    kind = "download"
    exit_code = 8


class LinkExpired(DownloadError):
    """The link answered that it is gone."""


class NotAVideo(DownloadError):
    """The link served something that is not a whole MP4."""
