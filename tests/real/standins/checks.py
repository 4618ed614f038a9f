"""What a careful service refuses in a create, typed by hand from the public page."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

MODEL = "kling-v3-turbo-image-to-video"


def problem(body: Any) -> tuple[str, str] | None:
    """The member at fault and a sentence; None where the body is right. The body as a whole is called `body`."""
    if not isinstance(body, dict):
        return "body", "The body must be a JSON object."
    checks = (_model, _image, _prompt, _quality, _duration, _callback, _foreign)
    return next((found for check in checks if (found := check(body)) is not None), None)


def _model(body: dict[str, Any]) -> tuple[str, str] | None:
    return None if body.get("model") == MODEL else ("model", "Unknown model.")


def _image(body: dict[str, Any]) -> tuple[str, str] | None:
    url = body.get("image_start")
    right = isinstance(url, str) and url.startswith(("http://", "https://")) and bool(urlsplit(url).hostname)
    return None if right else ("image_start", "Must be the URL of an image.")


def _prompt(body: dict[str, Any]) -> tuple[str, str] | None:
    prompt = body.get("prompt", "")
    return None if isinstance(prompt, str) and len(prompt) <= 2500 else ("prompt", "At most 2500 characters.")


def _quality(body: dict[str, Any]) -> tuple[str, str] | None:
    return None if body.get("quality", "720p") in ("720p", "1080p") else ("quality", "720p or 1080p.")


def _duration(body: dict[str, Any]) -> tuple[str, str] | None:
    seconds = body.get("duration", 5)
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds == int(seconds)
    return None if number and 3 <= seconds <= 15 else ("duration", "An integer from 3 to 15.")


def _callback(body: dict[str, Any]) -> tuple[str, str] | None:
    if "callback_url" not in body:
        return None
    url = body["callback_url"]
    if not isinstance(url, str) or not url.startswith("https://") or len(url) > 2048:
        return "callback_url", "An https URL of at most 2048 characters."
    host = urlsplit(url).hostname or ""
    try:
        inside = not ipaddress.ip_address(host).is_global
    except ValueError:
        inside = host in ("", "localhost")
    return ("callback_url", "No internal address.") if inside else None


def _foreign(body: dict[str, Any]) -> tuple[str, str] | None:
    names = ("aspect_ratio", "image_end", "image_urls", "video_urls", "audio_urls")
    return next(((name, "Not taken by this model.") for name in names if name in body), None)
