"""Secrets out of everything that is kept or shown: each becomes a pseudonym, the same one wherever the secret stood.

One list of names and one class for the fake's journal and the kit's histories. A pseudonym keeps equality: it still tells accounts
apart, still shows where a key went, and two URLs that were equal stay equal. It is too short to find a random secret from it.
"""

import base64
import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import AnyStr
from urllib.parse import quote, unquote

TOKEN = re.compile(r"key-[0-9a-f]{8}")
"""What a pseudonym looks like; safe in a URL, a header and JSON."""

Headers = tuple[tuple[str, str], ...]
Namer = Callable[[str], str | None]

_SECRET_WORDS = frozenset(
    {
        *("authorization", "auth", "oauth", "token", "tokens", "jwt", "bearer", "secret", "secrets", "credential"),
        *("credentials", "password", "passwd", "passphrase", "pwd", "cookie", "cookies", "session", "sessionid", "sid"),
        *("key", "apikey", "accesskey", "secretkey", "privatekey", "authtoken", "accesstoken", "sessiontoken"),
    }
)
# Names that have one of these words and hold no secret.
_PUBLIC_NAMES = frozenset(
    {
        *("idempotency-key", "x-idempotency-key", "sec-websocket-key", "surrogate-key", "www-authenticate"),
        *("task-key", "sort-key", "public-key"),
    }
)
# Schemes of an Authorization header, which stay readable. Any other first word may be the secret itself.
_SCHEMES = frozenset(
    {"basic", "bearer", "digest", "dpop", "hoba", "mutual", "negotiate", "ntlm", "oauth", "hawk", "token", "apikey"}
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

# Plain searches for what the patterns need come first: most text has none of it, and a journal masks every message.
_WORDS = (
    *(
        "key",
        "token",
        "secret",
        "passw",
        "passphrase",
        "pwd",
        "auth",
        "cookie",
        "session",
        "credential",
        "jwt",
        "bearer",
    ),
    *("sid=", 'sid"'),
)
_HINTS = (*_WORDS, "eyj", "aiza", "basic", "callback_url", "@")
_PACKED_IN_BYTES = (b"c2st", b"NrL", b"zay")
_HINTS_IN_BYTES = tuple(hint.encode() for hint in _HINTS)
_NAME = r"[\w.\-\[\]]{0,40}?(?:key|token|secret|passw|passphrase|pwd|auth|cookie|session|sid|credential|jwt|bearer)[\w.\-\[\]]{0,40}"
_SHAPES = re.compile(
    r"sk-(?<![A-Za-z0-9]sk-)[A-Za-z0-9._~+-]{4,}"  # the service's keys, and those of many others
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"  # JSON Web Tokens
    r"|(?<![A-Za-z0-9_-])AIza[A-Za-z0-9_-]{30,}"  # Google's keys
)
_SPOKEN = re.compile(r"\b(bearer|basic)(\s+)(?=[^\s\"',;]*[0-9=])([A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)
_USERINFO = re.compile(r"(://)([^/\s\"'<>@\\?#]+)(@)")
_QUERY = re.compile(rf"((?:^|[?&;]|\\u0026){_NAME}=)([^&;#\s\"'<>\\]+)", re.IGNORECASE)
_MEMBER = re.compile(
    rf'("{_NAME}"\s*:\s*")([^"\\]*(?:\\.[^"\\]*)*)("|\\?\Z)', re.IGNORECASE
)  # cut short, it has no end
_PART = re.compile(
    rf'(name="{_NAME}"[^\r\n]{{0,200}}\r?\n(?:[^\r\n]{{1,200}}\r?\n){{0,4}}\r?\n)([^\r\n]+)', re.IGNORECASE
)
_CALLBACK = re.compile(r'("callback_url"\s*:\s*")([^"\\]*(?:\\.[^"\\]*)*)("|\\?\Z)')
# A run of characters of which one is escaped: percent-encoded, or as JSON may escape any character.
_PLAIN, _ESCAPE = r"[A-Za-z0-9._~+-]", r"%[0-9A-Fa-f]{2}|\\u00[0-9A-Fa-f]{2}"
_ESCAPED = re.compile(rf"(?<!{_PLAIN}){_PLAIN}*(?:{_ESCAPE})(?:{_PLAIN}|{_ESCAPE})*")
# A run of base64 in which `sk-` may stand, at one of its three places in a group of three bytes.
_PACKED = ("c2st", "NrL", "zay")
_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?=[A-Za-z0-9+/_-]{0,4000}(?:c2st|NrL|zay))[A-Za-z0-9+/_-]{12,8192}={0,2}(?![A-Za-z0-9+/_-])"
)
_JSON_ESCAPE = re.compile(r"\\u00([0-9A-Fa-f]{2})")
# What somebody drew at random for the path or the query of a callback URL: long, of digits and letters.
_RANDOM = re.compile(
    r"(?<=[/=])(?!task-|key-)(?=(?:[^/?&=#]*[0-9]){3})(?=(?:[^/?&=#]*[A-Za-z]){3})[\w~.-]{20,128}(?=[/?&#]|$)"
)
# Each pattern is linear in the text: it begins where a run begins, or its parts are bounded.
_SHORTEST_LEARNED = 8
_BEGINNING = 4  # characters by which learned keys are looked for
_SHORTEST_CORE = 12
_SHORT_VALUE, _SHORT_VALUES = 256, 4096  # headers repeat: so many short values are remembered with what became of them


@lru_cache(4096)
def is_secret(name: str) -> bool:
    """Return whether a header, query parameter or member of this name holds a secret: `X-Api-Key`, `accessToken`, `Cookie`.

    >>> is_secret("X-Goog-Api-Key"), is_secret("Idempotency-Key")
    (True, False)
    """
    if name.lower().replace("_", "-") in _PUBLIC_NAMES:
        return False
    return any(word.lower() in _SECRET_WORDS for word in _WORD.findall(name))


def _has(text: AnyStr, parts: Iterable[AnyStr]) -> bool:
    """Return whether one of *parts* is in *text*. A loop: as an expression it costs twice as much, for every message of a journal."""
    for part in parts:  # noqa: SIM110 - see above
        if part in text:
            return True
    return False


def _may_hold_key(small: AnyStr, key: AnyStr, task: AnyStr) -> bool:
    """Return whether there are more beginnings of keys than of tasks' ids: `task-` ends as a key begins, and holds none."""
    return small.count(key) > small.count(task)


def header(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """Return the first value of header *name*, whatever its case; None when it is not there."""
    wanted = name.lower()
    for key, value in headers:
        if key.lower() == wanted:
            return value
    return None


def first_values(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the first value of each header by its name in small letters: `header` for who asks more than once.

    >>> first_values([("Retry-After", "2"), ("retry-after", "3")])
    {'retry-after': '2'}
    """
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.lower(), value)
    return found


class _Spellings:
    """Texts, each with what is put in its place.

    Many keys begin alike, so a pattern finds the few beginnings, and a look into a dictionary the rest. A pattern of whole texts
    would be made anew for each key. One thread adds at a time; others may search meanwhile.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}
        self._lengths: dict[str, tuple[int, ...]] = {}  # of the texts with that beginning, the longest first
        self._begins: re.Pattern[str] | None = None

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def __contains__(self, text: str) -> bool:
        return text in self._tokens

    def add(self, texts: Iterable[str], token: str) -> None:
        """Put *token* in the place of each of *texts* from now on."""
        known = len(self._lengths)
        for text in texts:
            self._tokens[text] = token
            begin = text[:_BEGINNING]
            lengths = {*self._lengths.get(begin, ()), len(text)}
            self._lengths[begin] = tuple(sorted(lengths, reverse=True))
        if len(self._lengths) > known:
            self._begins = re.compile("|".join(map(re.escape, sorted(self._lengths, key=len, reverse=True))))

    def replaced(self, text: str) -> str:
        """Return *text* with every known one in it replaced: the first in it, and of those that begin there the longest."""
        begins = self._begins
        if begins is None:
            return text
        parts: list[str] = []
        done = at = 0
        while found := begins.search(text, at):
            begin = found.start()
            known = self._longest(text, begin)
            at = begin + (len(known) or 1)
            if known:
                parts += text[done:begin], self._tokens[known]
                done = at
        return "".join([*parts, text[done:]]) if parts else text

    def _longest(self, text: str, begin: int) -> str:
        """Return the longest known text that stands at *begin*; empty where there is none."""
        for size in range(_BEGINNING, 0, -1):
            for length in self._lengths.get(text[begin : begin + size], ()):
                if (known := text[begin : begin + length]) in self._tokens:
                    return known
        return ""


class Mask:
    """Replaces secrets by pseudonyms: those it has learned, in every spelling, and whatever has the name or the shape of one.

    *salt* makes the pseudonyms of one mask differ from another's. *own* gives pseudonyms of its own choice, and None where it has none.
    *learns*: credentials in headers are remembered; without it only *keys* and what is learned by name.
    Safe to use from many threads.
    """

    def __init__(self, salt: bytes, keys: Iterable[str] = (), own: Namer | None = None, *, learns: bool = True) -> None:
        self._salt, self._own, self._learns = salt, own, learns
        self._learned = _Spellings()
        self._lock = threading.Lock()
        self._short_value = lru_cache(_SHORT_VALUES)(self._masked_value)
        for key in keys:
            self.learn(key)

    def token(self, key: str) -> str:
        """Return the pseudonym of *key*; a pseudonym stands for itself."""
        if TOKEN.fullmatch(key):
            return key
        own = self._own(key) if self._own is not None else None
        return own or "key-" + hashlib.sha256(self._salt + key.encode("utf-8", "replace")).hexdigest()[:8]

    def learn(self, key: str) -> str:
        """Remember *key*, so that every spelling of it is replaced from now on; return its pseudonym."""
        token = self.token(key)
        if not key or token == key or key in self._learned:
            return token
        with self._lock:
            self._learned.add(self.spellings(key), token)
        self._short_value.cache_clear()
        return token

    @staticmethod
    def spellings(key: str) -> tuple[str, ...]:
        """Return the ways in which *key* may be written: as it is, in a URL, in base64 by itself or inside of other bytes."""
        data = key.encode("utf-8", "replace")
        cores = []
        for ahead in range(3):
            # The characters at the ends also depend on what stands before and behind.
            encoded = base64.b64encode(b"\0" * ahead + data).decode()
            core = encoded[(0, 2, 3)[ahead] : len(encoded) - (0, 3, 2)[(ahead + len(data)) % 3]]
            cores += [core, core.replace("+", "-").replace("/", "_")]
        cores = [core for core in cores if len(core) >= _SHORTEST_CORE]
        return tuple(dict.fromkeys((key, quote(key, safe=""), base64.b64encode(data).decode(), *cores)))

    def text(self, text: str) -> str:
        """Return *text*, a URL, a body or a line of a log, without secrets."""
        text = self._learned.replaced(text)
        small = text.lower()
        if _has(small, _HINTS) or _may_hold_key(small, "sk-", "task-"):
            text = self._named(text, small)
        if _has(text, _PACKED):
            text = _BASE64.sub(self._unpacked, text)
        return _ESCAPED.sub(self._unescaped, text) if "%" in text or "\\u00" in text else text

    def bytes(self, body: bytes) -> bytes:
        """Return *body* without secrets; the other bytes stay as they are."""
        if not self._learned and b"%" not in body and b"\\u00" not in body:
            small = body.lower()
            hinted = _has(small, _HINTS_IN_BYTES) or _may_hold_key(small, b"sk-", b"task-")
            if not hinted and not _has(body, _PACKED_IN_BYTES):
                return body
        return self.text(body.decode("latin-1")).encode("latin-1")

    def callback(self, url: str) -> str:
        """Return a callback URL without secrets: a receiver may have any random part of it for its only protection."""
        return self.text(self._random(self._learned.replaced(url)))

    def headers(self, headers: Iterable[Sequence[str]]) -> Headers:
        """Return *headers* in their order, credentials replaced whole and other values searched for keys."""
        return tuple((str(name), self.value(str(name), str(value))) for name, value in headers)

    def value(self, name: str, value: str) -> str:
        """Return the value of header *name* without secrets."""
        return self._short_value(name, value) if len(value) <= _SHORT_VALUE else self._masked_value(name, value)

    def _masked_value(self, name: str, value: str) -> str:
        if not is_secret(name):
            return self.text(value)
        return self.credential(value) if name.lower().endswith("authorization") else self.token(value)

    def credential(self, value: str) -> str:
        """Return an Authorization value with its scheme kept, so that judges see how the key was sent."""
        scheme, space, secret = value.strip().partition(" ")
        if not space or scheme.lower() not in _SCHEMES:
            return self.token(value.strip()) if value.strip() else ""
        return f"{scheme} {self.learn_or_token(secret.strip())}"

    def learn_or_token(self, secret: str) -> str:
        """Return the pseudonym of *secret*, remembered when it is long enough not to be a word of the language."""
        return self.learn(secret) if self._learns and len(secret) >= _SHORTEST_LEARNED else self.token(secret)

    def learn_from(self, headers: Iterable[Sequence[str]]) -> None:
        """Remember the credentials in *headers*, so that they are replaced wherever else they stand."""
        for name, value in headers:
            if str(name).lower().endswith("authorization"):
                self.credential(str(value))
            elif is_secret(str(name)):
                self.learn_or_token(str(value).strip())

    def who(self, headers: Iterable[Sequence[str]]) -> str:
        """Return the pseudonym of the bearer key in *headers*; empty when they carry none, or another credential."""
        value = header(((str(name), str(text)) for name, text in headers), "authorization") or ""
        scheme, _, key = value.strip().partition(" ")
        return self.token(key.strip()) if scheme.lower() == "bearer" and key.strip() else ""

    def _named(self, text: str, small: str) -> str:
        """Return *text*, which is *small* in lower case, without what has the name or the shape of a secret."""
        if "callback_url" in small:
            text = _CALLBACK.sub(lambda found: found[1] + self._random(found[2]) + found[3], text)
        if _has(small, ("sk-", "eyj", "aiza")):
            text = _SHAPES.sub(lambda found: self.token(found[0]), text)
        if "bearer" in small or "basic" in small:
            text = _SPOKEN.sub(lambda found: found[1] + found[2] + self.token(found[3]), text)
        if "@" in small:
            text = _USERINFO.sub(lambda found: found[1] + self.token(found[2]) + found[3], text)
        if _has(small, _WORDS):
            for pattern in (_QUERY, _MEMBER, _PART):
                text = pattern.sub(self._value_of, text)
        return text

    def _value_of(self, found: "re.Match[str]") -> str:
        """Return a name with its value replaced, where the name is a secret's."""
        name = (
            found[1]
            .removeprefix("name=")
            .replace("\\u0026", "")
            .strip("?&;=: \t\r\n")
            .partition("\n")[0]
            .strip('"')
            .partition('"')[0]
        )
        after = found[3] if found.lastindex == 3 else ""
        return found[1] + self.token(found[2]) + after if is_secret(name) else found[0]

    def _random(self, url: str) -> str:
        """Return *url* without the parts that look drawn at random."""
        return _RANDOM.sub(lambda found: self.token(found[0]), url)

    def _unpacked(self, found: "re.Match[str]") -> str:
        """Return a run of base64 as it is, or the pseudonym of the secret that it holds."""
        run = found[0].rstrip("=").replace("-", "+").replace("_", "/")
        plain = base64.b64decode(run + "=" * (-len(run) % 4) if len(run) % 4 != 1 else run[:-1]).decode("latin-1")
        secret = _SHAPES.search(plain)
        return found[0] if secret is None else self.token(secret[0])

    def _unescaped(self, found: "re.Match[str]") -> str:
        """Return an escaped run as it is, or masked and no longer escaped where a secret hid in it."""
        plain = unquote(_JSON_ESCAPE.sub(lambda one: chr(int(one[1], 16)), found[0]))
        masked = _SHAPES.sub(lambda one: self.token(one[0]), self._learned.replaced(plain))
        return masked if masked != plain else found[0]
