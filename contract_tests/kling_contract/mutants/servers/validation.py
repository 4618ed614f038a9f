"""Servers that break rules of validation (SV): they take what is wrong, or refuse what is right."""

import re
from typing import Any
from urllib.parse import urlsplit

from kling_contract.mutants.messages import DROP, Memory, Request, Response
from kling_contract.mutants.mutant import Switch, broken
from kling_contract.mutants.switches import (
    CONTRACT,
    alters,
    asks,
    error,
    every,
    patch,
    status_was,
    takes,
    turns,
)  # fmt: skip
from kling_contract.reading.addresses import is_internal, literal

_FIELDS = "components/schemas/CreateVideo/properties"
_DURATION = "components/schemas/Duration"
_IMAGE = f"{_FIELDS}/image_start/x-image"
_GOOD = "https://image.test/1280x720.jpg"
_HOOK = "https://hooks.example.com/done"
_SIZE = re.compile(r"/(\d+)x(\d+)\.")


def _is(kind: type) -> Any:
    return lambda value: isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _without(field: str) -> Any:
    return lambda body: field not in body


def _long(value: Any) -> bool:
    return isinstance(value, str) and len(value.encode()) > CONTRACT.prompt_max >= len(value)


def _whole_of_text(value: Any) -> bool:
    return isinstance(value, str) and value.isdigit()


def _host(value: Any) -> str:
    return (urlsplit(value).hostname or "") if isinstance(value, str) else ""


def _spelt(value: Any) -> bool:
    """Whether a URL's host is an address of this machine in an unusual spelling."""
    host = _host(value)
    return bool(host) and literal(host) is not None and not re.fullmatch(r"\d+(\.\d+){3}|[0-9a-f:.]*:[0-9a-f:.]*", host)


def _mapped(value: Any) -> bool:
    return "::ffff:" in _host(value)


def _shared(value: Any) -> bool:
    """Whether a URL's host lies in the range of carriers."""
    return is_internal(_host(value), [net for net in CONTRACT.internal if str(net).startswith("100.")])


def _plain_http(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("http://") and bool(_host(value))


def _large(url: Any) -> bool:
    """Whether a drawing's short side is well above the least."""
    found = _SIZE.search(url) if isinstance(url, str) else None
    return found is not None and min(int(found[1]), int(found[2])) > CONTRACT.image.min_side


def _asks_for(*marks: str) -> Any:
    return lambda url: isinstance(url, str) and any(mark in url for mark in marks)


def _leaves_a_task() -> Switch:
    """A create refused for its duration makes a task all the same."""

    def on_response(ask: Request, answer: Response, memory: Memory) -> Response:
        if ask.name == "createVideo" and answer.status == 400 and b'"duration"' in answer.body:
            memory.send(ask.becomes({**ask.sent, "duration": CONTRACT.duration_min}))
        return answer

    return Switch(on_response=on_response)


def _as_object(ask: Request) -> Request:
    return ask.becomes({"model": CONTRACT.model, "image_start": _GOOD})


_no_object = asks(
    lambda ask: (
        ask.name == "createVideo" and bool(ask.body) and ask.json is not None and not ask.sent and ask.json != {}
    ),
    _as_object,
)
_empty = asks(lambda ask: ask.name == "createVideo" and not ask.body, _as_object)
_not_utf8 = asks(lambda ask: ask.name == "createVideo" and b"\xff" in ask.body, _as_object)


def _looks_internal(url: Any) -> bool:
    return any(one in str(url) for one in ("localhost.", "/127.0.0.1", "=192.168"))


def _internal_behind_at(url: Any) -> bool:
    return "@" in str(url) and "@" in urlsplit(url).netloc and is_internal(_host(url), CONTRACT.internal)


def _number_before_at(url: Any) -> bool:
    return "127.0.0.1@" in str(url)


MUTANTS = (
    broken("SV-01", "model-optional", "takes a create without model", takes(_without("model"), model=CONTRACT.model)),
    broken("SV-02", "text-model-too", "takes the name of the sibling that works from text",
           turns("model", lambda _: CONTRACT.model, lambda name: isinstance(name, str) and "text" in name)),
    broken("SV-02", "model-in-any-case", "does not mind capitals in the model's name",
           turns("model", str.lower, _is(str))),
    broken("SV-03", "image-optional", "takes a create without image_start", takes(_without("image_start"), image_start=_GOOD)),
    broken("SV-04", "image-by-ftp", "takes an image by ftp",
           turns("image_start", lambda _: _GOOD, lambda url: isinstance(url, str) and url.startswith("ftp:"))),
    broken("SV-04", "image-in-data-url", "takes an image inside its URL",
           turns("image_start", lambda _: _GOOD, lambda url: isinstance(url, str) and url.startswith("data:"))),
    broken("SV-05", "prompt-required", "refuses a create without prompt", takes(_without("prompt"), prompt=5)),
    broken("SV-06", "prompt-one-longer", "takes a prompt that is one character too long",
           alters(f"{_FIELDS}/prompt/maxLength", lambda most: most + 1)),
    broken("SV-06", "prompt-one-shorter", "refuses the longest prompt", alters(f"{_FIELDS}/prompt/maxLength", lambda most: most - 1)),
    broken("SV-06", "prompt-in-bytes", "counts a prompt's bytes", turns("prompt", lambda _: 5, _long)),
    broken("SV-07", "prompt-of-any-type", "takes a prompt that is a number", turns("prompt", str, _is(int))),
    broken("SV-08", "duration-one-shorter", "takes one second less", alters(f"{_DURATION}/minimum", lambda least: least - 1)),
    broken("SV-08", "duration-zero", "takes a duration of 0 for the default",
           turns("duration", lambda _: CONTRACT.duration_default, lambda n: n == 0 and _is(int)(n))),
    broken("SV-09", "duration-one-longer", "takes one second more", alters(f"{_DURATION}/maximum", lambda most: most + 1)),
    broken("SV-09", "duration-clamped", "cuts a duration that is too long down to the greatest",
           turns("duration", lambda _: CONTRACT.duration_max, lambda n: _is(int)(n) and n > CONTRACT.duration_max)),
    broken("SV-10", "longest-refused", "refuses the longest duration", alters(f"{_DURATION}/maximum", lambda most: most - 1)),
    broken("SV-11", "duration-as-text", "takes a duration in quotes", turns("duration", int, _whole_of_text)),
    broken("SV-11", "duration-rounded", "rounds half a second", turns("duration", int, _is(float))),
    broken("SV-12", "default-of-ten", "gives ten seconds when none are asked for", patch(f"{_DURATION}/default", 10)),
    broken("SV-13", "4k-taken", "takes 4k", turns("quality", lambda _: "1080p", lambda name: name == "4k")),
    broken("SV-14", "480p-taken", "takes 480p", turns("quality", lambda _: "720p", lambda name: name == "480p")),
    broken("SV-14", "quality-in-any-case", "does not mind capitals in quality", turns("quality", str.lower, _is(str))),
    broken("SV-15", "no-1080p", "refuses 1080p", turns("quality", lambda _: "540p", lambda name: name == "1080p")),
    broken("SV-15", "default-1080p", "gives 1080p when nothing is asked for",
           takes(_without("quality"), quality="1080p"), scripts=("required-only",)),
    broken("SV-16", "aspect-ratio-ignored", "ignores aspect_ratio", takes(lambda body: "aspect_ratio" in body, aspect_ratio=DROP)),
    broken("SV-17", "http-callback", "takes a callback without TLS",
           turns("callback_url", lambda url: "https" + url[4:], _plain_http)),
    broken("SV-17", "callback-without-scheme", "takes a callback that begins with //",
           turns("callback_url", lambda url: "https:" + url, lambda url: isinstance(url, str) and url.startswith("//"))),
    broken("SV-18", "spelt-addresses", "does not know 127.0.0.1 when it is spelt otherwise",
           turns("callback_url", lambda _: _HOOK, _spelt)),
    broken("SV-18", "mapped-addresses", "does not look into IPv4 addresses inside IPv6 ones",
           turns("callback_url", lambda _: _HOOK, _mapped)),
    broken("SV-18", "carrier-range", "takes the range of carriers for public", turns("callback_url", lambda _: _HOOK, _shared)),
    broken("SV-19", "callback-one-longer", "takes a callback URL that is one character too long",
           alters(f"{_FIELDS}/callback_url/maxLength", lambda most: most + 1)),
    broken("SV-19", "callback-one-shorter", "refuses the longest callback URL",
           alters(f"{_FIELDS}/callback_url/maxLength", lambda most: most - 1)),
    broken("SV-20", "all-of-172", "takes all of 172.0.0.0/8 for internal",
           turns("callback_url", lambda _: "http://x", lambda url: _host(url).startswith("172."))),
    broken("SV-21", "side-one-longer", "refuses the least side", alters(f"{_IMAGE}/min_side_px", lambda side: side + 1)),
    broken("SV-21", "side-one-shorter", "takes one pixel less", alters(f"{_IMAGE}/min_side_px", lambda side: side - 1)),
    broken("SV-22", "ratio-wider", "takes wider images", patch(f"{_IMAGE}/ratio_max", "3:1")),
    broken("SV-22", "ratio-bound-excluded", "refuses an image exactly at the bound", patch(f"{_IMAGE}/ratio_min", "1:2.49")),
    broken("SV-23", "twice-the-bytes", "takes images of twice the size", alters(f"{_IMAGE}/max_bytes", lambda most: 2 * most)),
    broken("SV-23", "half-the-bytes", "refuses images above half the size", alters(f"{_IMAGE}/max_bytes", lambda most: most // 2)),
    broken("SV-24", "webp-taken", "takes WebP", turns("image_start", lambda _: _GOOD, _asks_for("as=webp"))),
    broken("SV-24", "no-png", "takes no PNG", patch(f"{_IMAGE}/formats", ["jpeg"])),
    broken("SV-24", "trusts-the-suffix", "believes a file's name, not its bytes",
           turns("image_start", lambda url: url.partition("?")[0], _asks_for("?as="))),
    broken("SV-25", "truncated-taken", "does not read images to their end",
           turns("image_start", lambda url: url.partition("?")[0], _asks_for("?truncated"))),
    broken("SV-26", "unreachable-taken", "makes a video of an image that it could not fetch",
           turns("image_start", lambda url: url.partition("?")[0], _asks_for("?status="))),
    broken("SV-27", "refused-but-made", "makes a task of a create that it refused for its duration", _leaves_a_task()),
    broken("SV-28", "moody-refusals", "gives every second refusal another code",
           every(2, error(code="invalid_task_id"), status_was(400, name="createVideo"))),
    broken("SV-29", "array-taken", "takes a create that is no object", _no_object),
    broken("SV-29", "nothing-taken", "takes an empty create", _empty),
    broken("SV-29", "latin-1-taken", "takes text that is not UTF-8", _not_utf8, masked_by="SW-17"),
    broken("SV-30", "always-16-to-9", "makes every video 16:9", turns("image_start", lambda _: _GOOD, _large), scripts=("tiers",)),
    broken("SV-31", "no-point-zero", "refuses a whole number that is written with a point",
           turns("duration", str, lambda n: isinstance(n, float) and n.is_integer())),
    broken("SV-32", "looks-internal", "refuses a callback URL that contains what looks like an internal address",
           turns("callback_url", lambda _: "http://x", _looks_internal)),
    broken("SV-33", "host-before-at", "takes what stands before the @ of a callback URL for its host",
           turns("callback_url", lambda _: _HOOK, _internal_behind_at)),
    broken("SV-34", "no-numbers-before-at", "refuses a callback URL with what looks internal before its @",
           turns("callback_url", lambda url: url.replace("user@", ""), lambda url: "//user@" in str(url)),
           turns("callback_url", lambda url: url.replace("localhost:10.0.0.1@", ""), lambda url: "localhost:10.0.0.1@" in str(url)),
           turns("callback_url", lambda _: "http://x", _number_before_at)),
    broken("SV-35", "one-port", "refuses a callback URL with a port",
           turns("callback_url", lambda _: "http://x", lambda url: ":8443" in str(url))),
    broken("SV-35", "no-address-in-brackets", "refuses every IPv6 address",
           turns("callback_url", lambda _: "http://x", lambda url: "//[2606:" in str(url))),
)  # fmt: skip
