"""Keys out of everything that is kept: each becomes a short salted hash, the same one wherever it stood.

A masked key still tells accounts apart and still shows where a key leaked, which is what the judges need of it.
"""

import base64
import hashlib
import re
import threading
from collections.abc import Iterable, Sequence
from urllib.parse import quote

TOKEN = re.compile(r"key-[0-9a-f]{8}")
"""What a masked key looks like; safe in a URL, a header and JSON."""

_LOOKS_LIKE_A_KEY = re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9._~+-]{4,}")
# Headers whose whole value is a credential, whoever sent it.
_CREDENTIALS = frozenset({"authorization", "proxy-authorization"})
_SECRETS = frozenset({"x-api-key", "x-mock-token", "cookie", "set-cookie"})

Headers = tuple[tuple[str, str], ...]


def header(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """The first value of header *name*, whatever its case; None when it is not there."""
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), None)


class Mask:
    """Replaces the keys it has been given, and whatever looks like one, by their hashes. Thread-safe."""

    def __init__(self, salt: bytes, keys: Iterable[str] = ()) -> None:
        self._salt = salt
        self._spellings: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()
        for key in keys:
            self.learn(key)

    def token(self, key: str) -> str:
        """The hash that stands for *key*; a token stands for itself."""
        if TOKEN.fullmatch(key):
            return key
        return "key-" + hashlib.sha256(self._salt + key.encode("utf-8", "replace")).hexdigest()[:8]

    def learn(self, key: str) -> str:
        """Remember *key* so that every spelling of it is replaced from now on; answers its token."""
        token = self.token(key)
        if not key or token == key:
            return token
        with self._lock:
            for spelling in self.spellings(key):
                self._spellings[spelling] = token
            longest_first = sorted(self._spellings, key=lambda text: (-len(text), text))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        return token

    @staticmethod
    def spellings(key: str) -> tuple[str, ...]:
        """The ways in which *key* may be written: as it is, in a URL, in base64."""
        return tuple(dict.fromkeys((key, quote(key, safe=""), base64.b64encode(key.encode()).decode())))

    def text(self, text: str) -> str:
        """*text* without keys."""
        pattern = self._pattern
        if pattern is not None:
            text = pattern.sub(lambda match: self._spellings[match[0]], text)
        return _LOOKS_LIKE_A_KEY.sub(lambda match: self.token(match[0]), text)

    def headers(self, headers: Iterable[Sequence[str]]) -> Headers:
        """*headers* in their order, credentials hashed whole and other values searched for keys."""
        return tuple((str(name), self._value(str(name).lower(), str(value))) for name, value in headers)

    def _value(self, name: str, value: str) -> str:
        if name in _CREDENTIALS:
            return self.credential(value)
        if name in _SECRETS:
            return self.token(value)
        return self.text(value)

    def credential(self, value: str) -> str:
        """An Authorization value with its scheme kept, so that judges see how the key was sent."""
        scheme, space, secret = value.strip().partition(" ")
        if not space:
            return self.token(scheme) if scheme else ""
        return f"{scheme} {self.learn_or_token(secret.strip())}"

    def learn_or_token(self, secret: str) -> str:
        """The token of *secret*, remembered when it is long enough not to be a word of the language."""
        return self.learn(secret) if len(secret) >= 8 else self.token(secret)

    def who(self, headers: Iterable[Sequence[str]]) -> str:
        """The token of the bearer key that *headers* carry; empty when they carry none, or another credential."""
        value = header(((str(name), str(text)) for name, text in headers), "authorization") or ""
        scheme, _, key = value.strip().partition(" ")
        return self.token(key.strip()) if scheme.lower() == "bearer" and key.strip() else ""
