"""What the document says, typed a second time on purpose, and the options of one running stand-in.

The stand-in exists to disagree with the project's own fake where one of the two misread the document, so nothing
here comes from `openapi/`: the numbers are copied from document.txt and wire-facts.md by hand.
"""

# ruff: noqa: RUF009 - `_option` is dataclasses.field with the command line's half beside it

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

MODEL = "kling-v3-turbo-image-to-video"
CREATE_PATH = "/v1/videos/generations"
PROMPT_MAX = 2500  # characters, not bytes
DURATION_MIN, DURATION_MAX, DURATION_DEFAULT = 3, 15, 5  # seconds
QUALITIES = {"720p": 720, "1080p": 1080}  # tier -> pixels on the short side
CALLBACK_URL_MAX = 2048  # characters
IMAGE_MAX = 50 * 1024 * 1024  # bytes
IMAGE_SIDE_MIN = 300  # pixels
KNOWN_FIELDS = ("model", "image_start", "prompt", "quality", "duration", "callback_url")
FORBIDDEN_FIELDS = ("aspect_ratio", "image_end", "image_urls", "video_urls", "audio_urls")
IDEMPOTENCY_LIFE = 86400.0  # seconds

TASK_ERRORS = {
    "content_policy_violation": "The content was refused by the safety review.",
    "invalid_parameters": "The parameters cannot be used together.",
    "image_processing_error": "The first frame could not be read.",
    "image_dimension_mismatch": "The first frame has dimensions that cannot be used.",
    "request_cancelled": "The task was cancelled.",
    "generation_failed_no_content": "The generation ended without content.",
    "service_error": "The service failed.",
    "generation_timeout": "The generation took too long.",
    "resource_exhausted": "No capacity is free at the moment.",
    "quota_exceeded": "The quota is used up.",
    "service_unavailable": "The service is not available.",
    "resource_not_found": "A resource of the task was not found.",
    "unknown_error": "The task failed for an unknown reason.",
}

LEGACY_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large_error",
    429: "rate_limit_error",
    500: "internal_server_error",
}


def wall() -> float:
    """Unix seconds. Real time is the only time of this fake, so it may read it where the rest of the house may not."""
    return time.time()  # noqa: TID251


def ticks() -> float:
    """Seconds that never run backwards, for every age and every wait."""
    return time.monotonic()  # noqa: TID251


class ApiError(Exception):
    """An answer other than 200, in the words of wire-facts.md, table "HTTP errors"."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        suggestion: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.kind = kind
        self.param = param
        self.suggestion = suggestion
        self.headers = dict(headers or {})

    def body(self, dialect: str) -> dict[str, Any]:
        """The JSON body; `dialect` is "current" (string codes) or "legacy" (the status as an integer code)."""
        legacy = dialect == "legacy"
        error: dict[str, Any] = {
            "code": self.status if legacy else self.code,
            "message": self.message,
            "type": LEGACY_TYPES.get(self.status, "invalid_request_error") if legacy else self.kind,
        }
        if self.param is not None:
            error["param"] = self.param
        if self.suggestion is not None:
            error["fallback_suggestion"] = self.suggestion
        return {"error": error}


def invalid(param: str | None, message: str) -> ApiError:
    """The 400 of a body that is against the schema; `param` names the field (None: the body as a whole)."""
    return ApiError(400, "invalid_request", message, param=param)


def _option(default: Any, text: str, parse: Callable[[str], Any] = str, **more: Any) -> Any:
    return field(default=default, metadata={"help": text, "parse": parse, **more})


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def _gaps(text: str) -> tuple[float, ...]:
    return tuple(_seconds(part) for part in _names(text))


def _credits(text: str) -> Decimal:
    """Decimal, so that prices such as 0.1 add up; a value that is no finite number stops the start."""
    return Decimal(str(_seconds(text)))


def _pair(text: str) -> tuple[str, tuple[str, int]]:
    host, _, address = text.partition("=")
    ip, _, port = address.rpartition(":")
    if not host or not ip:
        raise ValueError(text)
    return host.lower(), (ip.strip("[]"), int(port))


@dataclass(frozen=True)
class Options:
    """One stand-in. Defaults are the documented numbers; times in seconds, money in credits."""

    host: str = _option("127.0.0.1", "address to listen on")
    port: int = _option(0, "port (0: a free one, printed)", int)
    keys: tuple[str, ...] = _option(("sk-a", "sk-b"), "API keys, an account each", _names)
    denied_keys: tuple[str, ...] = _option((), "further keys that exist but may not use the model", _names)
    credits: Decimal | float = _option(Decimal(1_000_000), "opening balance of every account", _credits)
    price_720p: Decimal | float = _option(Decimal(10), "credits for a second of 720p", _credits)
    price_1080p: Decimal | float = _option(Decimal(16), "credits for a second of 1080p", _credits)
    usd_per_credit: Decimal | float = _option(Decimal("0.01"), "dollars for a credit", _credits)
    ledger: Path | None = _option(None, "file for the ledger (JSON Lines)", Path)
    queue: float = _option(2.0, "seconds a task is pending", _seconds)
    run: float = _option(8.0, "seconds a task is processing", _seconds)
    link_life: float = _option(86400.0, "seconds a link works after completion", _seconds)
    callback_timeout: float = _option(10.0, "seconds for a whole callback attempt", _seconds)
    retry_gaps: tuple[float, ...] = _option((1.0, 2.0, 4.0), "seconds before each retry, e.g. 1,2,4", _gaps)
    ca_file: Path | None = _option(None, "certificates to trust for callbacks and images beside the system's", Path)
    allow_internal_callbacks: bool = _option(False, "callbacks to internal addresses (still https)")
    resolve: Mapping[str, tuple[str, int]] | None = _option(
        None, "HOST=IP:PORT, repeatable: connect there instead", _pair, action="append"
    )
    image_hosts: tuple[str, ...] = _option(("image.test",), "hosts whose images are judged by their URL", _names)
    tls_cert: Path | None = _option(None, "certificate chain: serve HTTPS", Path)
    tls_key: Path | None = _option(None, "key of --tls-cert", Path)
    public_url: str | None = _option(None, "origin of the links (default: where it listens)")
    max_body: int = _option(1024 * 1024, "bytes of a request body", int)
    rate_limit: int | None = _option(None, "calls of an account in 60 s before 429", int)
    retry_after: str = _option("seconds", "form of Retry-After", choices=("seconds", "date"))
    tags: bool = _option(False, "obey [[failed code=... at=...]] and [[cancelled]] in a prompt")
    slow: float = _option(0.0, "seconds that each answer is held back", _seconds)
    extra_fields: bool = _option(False, "unknown extra fields in every JSON answer")
    jumpy_progress: bool = _option(False, "progress in odd jumps, never back")
    refuse_unknown: bool = _option(False, "400 for unknown request fields")
    late_image_check: bool = _option(False, "a bad first frame fails the task instead of the create")
    no_cancel_field: bool = _option(False, "task_info without can_cancel")
    dialect: str = _option("current", "generation of the error codes", choices=("current", "legacy"))
    expired_status: int = _option(403, "what an expired link answers", int, choices=(403, 404, 410))
    idempotency: str = _option("on", "obey Idempotency-Key", choices=("on", "off"))
    lookup: Callable[[str], list[str]] | None = None  # in process only: host name -> addresses, instead of DNS


def parse_options(argv: Sequence[str] | None = None) -> Options:
    """Options from a command line. Raises SystemExit(2) on a bad value, as argparse does."""
    parser = argparse.ArgumentParser(prog="standin.py", description="A second fake of the service, from the document.")
    for item in fields(Options):
        if item.metadata:
            parser.add_argument("--" + item.name.replace("_", "-"), **_argument(item.default, dict(item.metadata)))
    given = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    if "resolve" in given:
        given["resolve"] = dict(given["resolve"])
    if bool(given.get("tls_cert")) != bool(given.get("tls_key")):
        parser.error("--tls-cert and --tls-key go together")
    return Options(**given)


def _argument(default: Any, metadata: dict[str, Any]) -> dict[str, Any]:
    text, parse = metadata.pop("help"), metadata.pop("parse")
    if isinstance(default, bool):
        return {"help": text, "action": "store_true", "default": None}
    return {"help": text, "type": parse, "default": None, **metadata}
