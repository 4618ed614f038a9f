"""What the jury's servers refuse in a create: each check is a method, so that a member of the jury may make another one of it."""

import ipaddress
import re
import socket
from typing import Any
from urllib.parse import parse_qs, urlsplit

from accounts import Json

MODEL = "kling-v3-turbo-image-to-video"
SIDES = {"720p": 720, "1080p": 1080}
INSIDE = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
)


class Refused(Exception):
    """An HTTP error: status, code, type, message, param."""

    def __init__(
        self, status: int, code: str, message: str, param: str = "", kind: str = "invalid_request_error", **headers: str
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.kind, self.headers = (
            status,
            code,
            message,
            param,
            kind,
            headers,
        )


class Checks:
    """The checks of the document."""

    def check(self, asked: Json) -> tuple[int, int]:
        """Refuse what is wrong with a create; the size of its first frame."""
        for name in ("model", "image_start"):
            if name not in asked:
                raise Refused(400, "invalid_request", f"{name} is missing", name)
        if asked["model"] != MODEL:
            raise Refused(400, "invalid_request", f"the model served is {MODEL}", "model")
        prompt = asked.get("prompt", "")
        if not isinstance(prompt, str) or len(prompt) > 2500:
            raise Refused(400, "invalid_request", "prompt: at most 2500 characters", "prompt")
        if "quality" in asked and not (isinstance(asked["quality"], str) and asked["quality"] in SIDES):
            raise Refused(400, "invalid_request", "quality: 720p or 1080p", "quality")
        self.check_duration(asked)
        for name in ("aspect_ratio", "image_end", "image_urls", "video_urls", "mask_url", "audio_urls"):
            if name in asked:
                raise Refused(400, "invalid_request", f"{name} is not taken", name)
        if "callback_url" in asked:
            self.check_callback(asked["callback_url"])
        return self.check_image(asked["image_start"])

    def check_duration(self, asked: Json) -> None:
        """A whole number from 3 to 15."""
        seconds = asked.get("duration", 5)
        whole = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds == seconds // 1
        if not whole or not 3 <= seconds <= 15:
            raise Refused(400, "invalid_request", "duration: 3 to 15", "duration")
        if "duration" in asked:
            asked["duration"] = int(seconds)

    def check_image(self, url: Any) -> tuple[int, int]:
        """What the drawing host's URLs say of an image; any other host's is of ordinary size."""
        bad = Refused(400, "invalid_request", "that first frame cannot be used", "image_start")
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or " " in url:
            raise bad
        found = re.fullmatch(r"/(\d+)x(\d+)\.(jpg|jpeg|png)", parts.path)
        if parts.hostname != "image.test" or found is None:
            return 1280, 720
        width, height, query = int(found[1]), int(found[2]), parse_qs(parts.query, keep_blank_values=True)
        fits = min(width, height) >= 300 and 2 * width <= 5 * height and 2 * height <= 5 * width
        right = query.get("as", ["png"])[0] in ("png", "jpeg") and int(query.get("bytes", ["0"])[0]) <= 50 * 1024 * 1024
        if not fits or not right or "truncated" in query or "status" in query:
            raise bad
        return width, height

    def check_callback(self, url: Any) -> None:
        """https, public, at most 2048 characters."""
        bad = Refused(400, "invalid_request", "callback_url cannot be called", "callback_url")
        if not isinstance(url, str) or len(url) > 2048:
            raise bad
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").rstrip(".")
        except ValueError:
            raise bad from None
        if parts.scheme != "https" or not host or self.inside(host, url):
            raise bad

    def inside(self, host: str, url: str) -> bool:
        """Whether a host is one of this network's."""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            if ":" in host:
                address = ipaddress.IPv6Address(host)
                if address.ipv4_mapped is None:
                    return not address.is_global or address.is_multicast
                number = address.ipv4_mapped
            else:
                number = ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return False
        return any(number in ipaddress.ip_network(net) for net in INSIDE) or not number.is_global or number.is_multicast
