"""What the stand-in takes in a create, and what it refuses."""

from typing import Any

import pytest
from standin import StandIn
from standin_calls import CREATE, call, create


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ...}, "model"),
        ({"model": "kling-v3-image-to-video"}, "model"),
        ({"model": None}, "model"),
        ({"image_start": ...}, "image_start"),
        *(
            ({"image_start": bad}, "image_start")
            for bad in (None, 5, "", "ftp://a.b/c.png", "data:image/png;base64,", [])
        ),
        *(({"prompt": bad}, "prompt") for bad in (None, 5, [], "界" * 2501, "🎬" * 2501)),
        *(({"duration": bad}, "duration") for bad in (2, 0, -1, 16, 10**9, 5.5, "5", True, None, [5], 1e308)),
        *(({"quality": bad}, "quality") for bad in ("4k", "480p", "720P", 1080, "", None, [])),
        *(({bad: None}, bad) for bad in ("aspect_ratio", "image_end", "image_urls", "video_urls", "audio_urls")),
        ({"callback_url": "https://a.example/" + "x" * 2031}, "callback_url"),
    ],
)
def test_a_bad_field_is_named(plain: StandIn, fields: dict[str, Any], param: str) -> None:
    """A body against the document is 400 with the field in `param`, and costs nothing."""
    before = call(plain, "GET", "/v1/credits", key="sk-b").json
    assert create(plain, "sk-b", **fields).error == (400, "invalid_request", param)
    assert call(plain, "GET", "/v1/credits", key="sk-b").json == before


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "界" * 2500},
        {"prompt": "🎬" * 2500},
        {"prompt": ""},
        {"duration": 15},
        {"duration": 5.0},
        {"quality": "1080p"},
        {"never_heard_of": None},
        {"callback_url": "https://11.0.0.1/" + "x" * 2031},
        *({"callback_url": f"https://{host}/"} for host in ("172.15.0.1", "172.32.0.1", "192.167.0.1", "192.169.0.1")),
        {"callback_url": "HTTPS://[2606:4700::1111]:8443/hook?a=b"},
    ],
)
def test_the_edges_are_accepted(fields: dict[str, Any]) -> None:
    """The last good value of each rule passes; nothing is really called, the task does not end here."""
    with StandIn(queue=60) as server:
        assert create(server, **fields).status == 200


@pytest.mark.parametrize(
    "url",
    [
        *("http://a.example/", "ftp://a.example/", "javascript:alert(1)", "a.example/x", "//a.example/", "https://"),
        *("https://u@a.example/", "https://a.example:0/", "https://a.example:99999/", "https://a.example /", 5, None),
        *("https://1.1.1.1\\@127.0.0.1/", "https://256.1.1.1/", "https://1.2.3.4.5/", "https://[::1"),
        *(
            f"https://{host}/"
            for host in (
                *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.0.0.1.", "0"),
                *(
                    "\uff11\uff12\uff17.0.0.1",
                    "127。0。0。1",
                    "%31%32%37.0.0.1",
                    "10.1.2.3",
                    "172.16.0.1",
                    "172.31.255.255",
                ),
                *("192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"),
                *("localhost", "LOCALHOST.", "api.localhost", "[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[ff02::1]"),
                *("[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
            )
        ),
    ],
)
def test_callback_urls_that_are_refused(plain: StandIn, url: Any) -> None:
    """Only https, and no internal address in any spelling."""
    assert create(plain, "sk-b", callback_url=url).error == (400, "invalid_request", "callback_url")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"null", b"5", b'{"model":', b'{"duration": NaN}', b"\xff\xfe{}", b"\xef\xbb\xbf{}"),
        *(b'{"model": 1, "model": 2}', b'{"prompt": "\\ud800"}', b"[" * 100_000, b'{"a": Infinity}', b"{}{}"),
    ],
)
def test_a_body_that_is_no_json_object(plain: StandIn, body: bytes) -> None:
    """Whatever two JSON readers could disagree about is refused in the documented shape."""
    assert call(plain, "POST", CREATE, body).error == (400, "invalid_request", None)
