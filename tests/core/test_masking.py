"""Secrets out of what is kept: by name, by shape, in every spelling; equal stays equal, and the rest stays as it is."""

import base64
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_common import masking
from kling_common.masking import TOKEN, Mask, is_secret

CANARY = "cAnary-7f3b9d1e-Zx81"
SHAPED = "sk-live-cAnary7f3b9d1eZx81"


@pytest.fixture
def mask() -> Mask:
    """A mask that has learned nothing."""
    return Mask(b"salt")


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "Api-Key", "apikey", "APIKEY"),
        *("X-Auth-Token", "X-Goog-Api-Key", "X-Amz-Security-Token", "Ocp-Apim-Subscription-Key", "X-Functions-Key"),
        *("Private-Token", "X-Vault-Token", "X-RapidAPI-Key", "X-Mock-Token", "X-Access-Token", "X-CSRF-Token"),
        *(
            "api_key",
            "access_token",
            "accessToken",
            "client_secret",
            "key",
            "password",
            "sessionId",
            "X-Session",
            "jwt",
        ),
    ],
)
def test_names_of_secrets(name: str) -> None:
    """In every style of writing."""
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("Idempotency-Key", "idempotency_key", "Content-Type", "X-Request-Id", "WWW-Authenticate", "Retry-After"),
        *("signature", "expires", "task_id", "author", "monkey", "tokenizer", "keyboard", "prompt", "callback_url"),
    ],
)
def test_names_of_no_secrets(name: str) -> None:
    """What only looks like one."""
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", f"Bearer {CANARY}"),
        ("authorization", f"KEY {CANARY}"),
        ("Authorization", f"{CANARY} x"),
        ("Authorization", CANARY),
        ("Proxy-Authorization", f"Basic {CANARY}"),
        ("Cookie", f"session={CANARY}; theme=dark"),
        ("Cookie", f"a=1; session={CANARY}"),
        ("Set-Cookie", f"{CANARY}; Path=/"),
        ("X-Auth-Token", CANARY),
        ("X-Goog-Api-Key", CANARY),
        ("Referer", f"https://a.example/?api_key={CANARY}&b=1"),
        ("Location", f"https://user:{CANARY}@a.example/"),
        ("X-Debug", f"Bearer {CANARY}"),
        ("X-Debug", SHAPED),
    ],
)
def test_headers(mask: Mask, name: str, value: str) -> None:
    """The value goes, wherever in it the secret stands; nothing else of the headers changes."""
    ((same, masked), other) = mask.headers([(name, value), ("Accept", "*/*")])

    assert same == name
    assert CANARY not in masked
    assert "cAnary" not in masked
    assert TOKEN.search(masked)
    assert other == ("Accept", "*/*")


BODIES = [
    f'{{"api_key": "{CANARY}"}}',
    f'{{"nested": {{"accessToken":"{CANARY}"}}, "b": 1}}',
    f'{{"password": "a\\"{CANARY}"}}',
    f'{{"callback_url": "https://hooks.example/cb?token={CANARY}"}}',
    f'{{"callback_url": "https://u:{CANARY}@hooks.example/cb"}}',
    '{"callback_url": "https://hooks.example/services/T00/cAnary7f3b9d1eZx81aa"}',
    '{"callback_url": "https://hooks.example/cb?s=cAnary7f3b9d1eZx81aa"}',
    f'{{"url": "https://a.example/?x=1\\u0026api_key={CANARY}"}}',
    f"grant_type=x&client_secret={CANARY}",
    f"api_key={CANARY}",
    f'--b\r\nContent-Disposition: form-data; name="api_key"\r\n\r\n{CANARY}\r\n--b--',
    f"it said Bearer {CANARY} to me",
    f"the key is {SHAPED}.",
    f"GET https://a.example/v1?key={CANARY} HTTP/1.1",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjQW5hcnkifQ.cAnary-signature",
]


@pytest.mark.parametrize("body", BODIES)
def test_texts_and_bodies(mask: Mask, body: str) -> None:
    """By the name of a member, parameter or part, by its place in a URL, or by its shape."""
    masked = mask.text(body)

    assert "cAnary" not in masked
    assert TOKEN.search(masked)
    assert mask.bytes(body.encode()) == masked.encode()


@pytest.mark.parametrize("body", BODIES[:7])
def test_json_stays_json(mask: Mask, body: str) -> None:
    """Its members too."""
    assert json.loads(mask.text(body)).keys() == json.loads(body).keys()


SPELLINGS = {
    "as it is": CANARY,
    "in a URL": quote(f"{CANARY}/+", safe="")[: len(CANARY)],
    "percent, every character": "".join(f"%{ord(character):02x}" for character in CANARY),
    "percent, mixed": "".join(f"%{ord(one):02X}" if index % 2 else one for index, one in enumerate(CANARY)),
    "JSON escapes": "".join(f"\\u{ord(character):04x}" for character in CANARY),
    "JSON escapes, mixed": "".join(f"\\u{ord(one):04X}" if index % 3 else one for index, one in enumerate(CANARY)),
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "base64 of a pair": base64.b64encode(f":{CANARY}".encode()).decode(),
    "base64 of another pair": base64.b64encode(f"u:{CANARY}:x".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(f"???{CANARY}".encode()).decode(),
}


@pytest.mark.parametrize("how", SPELLINGS)
def test_a_known_key_goes_in_every_spelling(how: str) -> None:
    """Under a name that says nothing."""
    mask = Mask(b"salt", [CANARY])
    text = f'{{"note": "before {SPELLINGS[how]} after"}}'

    masked = mask.text(text)

    assert mask.token(CANARY) in masked
    assert SPELLINGS[how] not in masked
    assert masked.startswith('{"note": "before ')
    assert masked.endswith(' after"}')


@pytest.mark.parametrize("behind", ["", ":", ":x", ":xy"])
@pytest.mark.parametrize("ahead", ["", "u", "uv", "uvw", "user"])
@pytest.mark.parametrize("key", [CANARY, f"{CANARY}9", f"{CANARY}98"])
def test_all_of_a_known_key_goes_from_base64(key: str, ahead: str, behind: str) -> None:
    """Wherever it stands in a group of three bytes: what stays are the characters that also depend on its neighbours."""
    mask = Mask(b"salt", [key])
    packed = base64.b64encode(f"{ahead}{key}{behind}".encode()).decode().rstrip("=")
    first, end = -(-len(ahead) * 8 // 6), len(ahead + key) * 8 // 6

    assert mask.text(packed) == packed[:first] + mask.token(key) + packed[end:]


def test_the_word_before_a_secret_stays(mask: Mask) -> None:
    """What kind of secret it was can still be read."""
    shown = mask.text(f"it said Bearer {CANARY} to me")

    assert shown.startswith("it said Bearer ")
    assert shown.endswith(" to me")


def test_equal_secrets_stay_equal_and_others_differ(mask: Mask) -> None:
    """Rules compare URLs and keys by their pseudonyms; a pseudonym stands for itself."""
    url = f"https://hooks.example/cb/cAnary7f3b9d1eZx81aa?token={CANARY}&n=1"
    body = json.loads(mask.text(json.dumps({"callback_url": url})))

    assert body["callback_url"] == mask.callback(url)
    assert mask.callback(url) != mask.callback(url.replace("Zx81", "Zx82"))
    assert mask.callback(mask.callback(url)) == mask.callback(url)
    assert mask.text(mask.text(url)) == mask.text(url)
    assert mask.callback(url).endswith("&n=1")
    assert Mask(b"other").token(CANARY) != mask.token(CANARY)


@pytest.mark.parametrize(
    "text",
    [
        '{"data":{"token":{"remaining_credits":5}}}',
        "https://fake.example/files/ab/task-unified-1757169743-7cvnl5zw.mp4?expires=1.5&signature=0123456789abcdef",
        '{"callback_url": "https://hooks.example.com/callback/ab12cd34?case=12"}',
        '{"prompt": "the bearer of bad news; basic colours; a key on a table"}',
        '{"prompt": "50% off, caf\\u00e9"}',
        "",
    ],
)
def test_what_is_no_secret_stays(mask: Mask, text: str) -> None:
    """Byte for byte."""
    assert mask.text(text) == text
    assert mask.bytes(text.encode()) == text.encode()


@given(st.binary(max_size=200))
def test_other_bytes_stay(data: bytes) -> None:
    """Masking bytes never fails, and what it leaves is as it was."""
    mask = Mask(b"salt", [CANARY])

    assert mask.bytes(b"\xff" + data + b" " + CANARY.encode()).endswith(b" " + mask.token(CANARY).encode())


@pytest.mark.parametrize(
    "piece",
    [
        "eyJ-",
        "sk-.",
        '"key":"',
        'name="key"',
        "://",
        "?key=",
        "bearer ",
        "a",
        "%",
        "aA1",
        "/aA1",
        '"key',
        "\\u0026",
        "key-",
    ],
)
def test_masking_is_linear(piece: str) -> None:
    """64 KB of what lets a pattern begin again and again come back at once; a quadratic one would never end."""
    mask = Mask(b"salt", [CANARY])
    long = piece * (64 * 1024 // len(piece))

    assert isinstance(mask.text(long), str)
    assert isinstance(mask.callback(long), str)


@pytest.mark.parametrize(
    "name", ["_SHAPES", "_SPOKEN", "_USERINFO", "_QUERY", "_MEMBER", "_PART", "_RANDOM", "_ESCAPED"]
)
def test_each_pattern_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a secret passes that none of the others finds."""
    texts = [*BODIES, *(f'{{"note": "{spelling}"}}' for spelling in SPELLINGS.values())]
    before = [Mask(b"salt", [CANARY]).text(text) for text in texts] + [Mask(b"s").text(text) for text in texts]

    monkeypatch.setattr(masking, name, masking.re.compile(r"(?!)"))

    assert before != [Mask(b"salt", [CANARY]).text(text) for text in texts] + [Mask(b"s").text(text) for text in texts]


@pytest.mark.parametrize("ahead", ["", "u:", "ab:", "abc:", "x y ", "\n"])
@pytest.mark.parametrize("url", [False, True])
def test_a_key_in_base64_is_found_by_its_shape(ahead: str, url: bool) -> None:
    """Nobody has said which key it is: what it is packed in is opened, wherever it stands in a group of three bytes."""
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    packed = encode(f"{ahead}sk-live-cAnary7f3b9d1eZx81q~?".encode()).decode()
    mask = Mask(b"salt")

    for text in (packed, f'{{"note": "{packed}"}}', f"x {packed.rstrip('=')},"):
        assert packed.rstrip("=") not in mask.text(text)
        assert "key-" in mask.text(text)
        assert packed.rstrip("=").encode() not in mask.bytes(text.encode())


@pytest.mark.parametrize("more", ["A", "AA", "AAA", "AAAA"])
def test_a_packed_key_is_found_in_a_run_of_any_length(more: str) -> None:
    """One that is no whole number of bytes, because letters follow it, is opened as far as it goes."""
    packed = base64.b64encode(b"sk-live-cAnary7f3b9d1eZx81").decode().rstrip("=")

    masked = Mask(b"salt").text(packed + more)

    assert packed not in masked
    assert "key-" in masked


@pytest.mark.parametrize(
    "text", ["c2st", "c2stYWJj", "zay" * 20, "NrL" * 50, "x" * 5000 + "zay", "c2st" * 4000, "Zm9vc2st!"]
)
def test_other_base64_stays(text: str) -> None:
    """Pictures and words in which the same letters stand."""
    assert Mask(b"salt").text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        '{"token": "s3cretvalue',
        '{"a": 1, "password": "s3cret\\',
        '{"callback_url": "https://a.example/?token=s3cretvalue',
    ],
)
def test_a_value_that_breaks_off_is_masked(text: str) -> None:
    """A body that was cut in the middle of a secret."""
    assert "s3cret" not in Mask(b"salt").text(text)
    assert b"s3cret" not in Mask(b"salt").bytes(text.encode())


@given(st.lists(st.text("ab", min_size=1, max_size=7), max_size=8), st.text("abc", max_size=40))
def test_learned_texts_are_replaced_as_one_pattern_of_all_would(keys: list[str], text: str) -> None:
    """The first in the text, and of those that begin there the longest, whatever they have in common."""
    learned = masking._Spellings()
    for key in keys:
        learned.add([key], f"<{len(key)}>")
    longest_first = sorted(set(keys), key=len, reverse=True)
    wanted = re.sub("|".join(map(re.escape, longest_first)), lambda one: f"<{len(one[0])}>", text) if keys else text
    assert learned.replaced(text) == wanted
    assert bool(learned) == bool(keys)


@pytest.mark.parametrize(
    "text", ["{key}", "task-{key}", "task-1 {key}", "{key} task-1 task-2", "TASK-1/{key}/task-", "sk-task-{key}"]
)
def test_a_key_among_ids_of_tasks_is_found(text: str) -> None:
    """`task-` ends as a key begins; ids of tasks by themselves are no keys."""
    mask = Mask(b"salt", learns=False)
    given = text.format(key="sk-0123456789abcdef")

    assert "0123456789" not in mask.text(given)
    assert b"0123456789" not in mask.bytes(given.encode())
    for plain in ("task-unified-1757169743-abcdefgh", "TASK-0123456789", "a task-0123456789/task-9876543210"):
        assert mask.text(plain) == plain
        assert mask.bytes(plain.encode()) == plain.encode()


def test_a_pseudonym_and_nothing_are_no_keys() -> None:
    """Neither is learned, so that no other text is taken for a spelling of it."""
    mask = Mask(b"salt", keys=["", "key-0a1b2c3d"])
    packed = base64.b64encode(b"key-0a1b2c3d").decode()

    assert mask.text(f"{packed} key-0a1b2c3d") == f"{packed} key-0a1b2c3d"
    assert mask.learn("key-0a1b2c3d") == "key-0a1b2c3d"


@pytest.mark.parametrize(
    ("key", "ahead", "found"),
    [
        ("nine-byte", "", True),
        ("nine-byte", "a", False),
        ("nine-byte", "ab", False),
        ("ten--bytes", "a", True),
        ("ten--bytes", "ab", True),
    ],
)
def test_twelve_characters_of_base64_are_enough_to_know_a_key_by(key: str, ahead: str, found: bool) -> None:
    """Inside of other bytes; where only eleven characters are the key's alone, they may be anything."""
    mask = Mask(b"salt", keys=[key])
    packed = base64.b64encode(f"{ahead}{key}{'x' * 9}".encode()).decode()

    assert (mask.text(packed) != packed) is found


@pytest.mark.parametrize("key", [f"{first}-Anary7f3b9d1e" for first in "AZaz09~_"])
def test_an_escaped_key_goes_however_it_begins(key: str) -> None:
    """Before a pseudonym in the alphabet, or behind it."""
    mask = Mask(b"salt", keys=[key])
    escaped = "".join(f"%{byte:02x}" for byte in key.encode())

    assert mask.text(f"q={escaped}") == f"q={mask.token(key)}"
    assert key not in mask.text("".join(f"\\u{byte:04x}" for byte in key.encode()))


@pytest.mark.parametrize(
    ("learns", "secret", "known"), [(True, "12345678", True), (True, "1234567", False), (False, "12345678", False)]
)
def test_which_credentials_are_looked_for_elsewhere(learns: bool, secret: str, known: bool) -> None:
    """Those of eight characters or more, in a mask that learns; in its header each is replaced."""
    mask = Mask(b"salt", learns=learns)

    ((_, shown),) = mask.headers([("Authorization", f"Bearer {secret}")])

    assert shown == f"Bearer {mask.token(secret)}"
    assert (mask.text(f"it is {secret}.") != f"it is {secret}.") is known


@pytest.mark.parametrize(
    "place",
    ["https://{}@h.example/a", "https://u:{}@h.example/a", "https://h.example/?token={}&b=1", '{{"password": "{}"}}'],
)
def test_equal_secrets_are_seen_to_be_equal_in_every_place(mask: Mask, place: str) -> None:
    """Wherever they stand: whoever compares two records sees whether it was the same one."""
    one, same, other = (
        mask.text(place.format(secret)) for secret in ("correct-horse", "correct-horse", "battery-staple")
    )

    assert one == same != other
    assert not {"correct-horse", "battery-staple"} & {*re.split(r'[/:@?&="]', one + other)}
