"""What leaves this process: rules CQ."""

import copy
import json

import pytest
from PIL import Image

import kling_openapi
from kling_client import Client, ConfigError, RequestInvalid, ServerError
from kling_client.contract import Contract
from kling_client.http import check_base_url

CREDENTIALS = ("sk-test-very-secret", "https://api.test")


def test_a_create_carries_what_it_must_and_no_more(client, service, kit):
    """CQ-01, CQ-02, CQ-09, CQ-11, CQ-13."""
    client.create(kit.image)

    (call,) = service.calls
    assert call.url == f"{kit.base}/v1/videos/generations"
    assert call.headers["Authorization"] == f"Bearer {kit.key}"
    assert call.headers["Content-Type"] == "application/json"
    assert call.headers["User-Agent"].startswith("kling-client/")
    assert json.loads(call.body) == {"model": "kling-v3-turbo-image-to-video", "image_start": kit.image}


FORBIDDEN = [
    ("quality", "4k"),
    ("quality", "480p"),
    ("quality", "720P"),
    ("quality", ""),
    ("duration", 16),
    ("duration", 2),
    ("duration", 5.5),
    ("duration", "5"),
    ("duration", True),
    ("prompt", "x" * 2501),
    ("prompt", 7),
    ("callback_url", "http://example.com/hook"),
    ("callback_url", "https://example.com/" + "x" * 2048),
    ("callback_url", "//example.com/hook"),
    ("callback_url", "https://127.0.0.1/hook"),
    ("callback_url", "https://2130706433/hook"),
    ("callback_url", "https://0x7f.1/hook"),
    ("callback_url", "https://10.1.2.3/hook"),
    ("callback_url", "https://[::1]/hook"),
    ("callback_url", "https://[::ffff:10.0.0.1]/hook"),
    ("callback_url", "https://203.0.113.9/hook"),
    ("callback_url", "https://233.252.1.1/hook"),
    ("callback_url", "https://[2001:db8::1]/hook"),
    ("callback_url", "https://[ff0e::1]/hook"),
    ("callback_url", "https://localhost/hook"),
    ("callback_url", "https://user:pw@example.com/hook"),
    ("callback_url", ""),
]


@pytest.mark.parametrize(("name", "value"), FORBIDDEN)
def test_what_the_contract_forbids_is_not_sent(client, service, kit, name, value):
    """CQ-08, CQ-10, CQ-14: refused here, with the field's name and without a wall of text."""
    with pytest.raises(RequestInvalid) as caught:
        client.create(kit.image, **{name: value})

    assert service.calls == []
    assert caught.value.param == name
    assert str(caught.value).startswith(f"{name}: ")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "host",
    [
        "8.8.8.8",
        "134744072",
        "0x8.8.8.8",
        "11.0.0.0",
        "[2606:4700:4700::1111]",
        "[::ffff:8.8.8.8]",
        "hooks.example.com",
    ],
)
def test_a_public_address_may_be_called_back(client, service, kit, host):
    """By number as well as by name: only internal ones are refused."""
    client.create(kit.image, callback_url=f"https://{host}/hook")

    (call,) = service.calls
    assert json.loads(call.body)["callback_url"] == f"https://{host}/hook"


@pytest.mark.parametrize("name", ["aspect_ratio", "image_end", "image_urls", "video_urls", "audio_urls"])
def test_fields_of_sibling_models_are_not_sent(client, service, kit, name):
    """CQ-10: in the contract's own words."""
    with pytest.raises(RequestInvalid, match=name):
        client.create(kit.image, extra={name: "16:9"})

    assert service.calls == []


@pytest.mark.parametrize("image", ["data:image/png;base64,AAAA", "ftp://x.test/a.jpg", "http://", "https:///a"])
def test_images_that_are_no_web_addresses_are_not_sent(client, service, image):
    """CQ-08: the contract wants http or https."""
    with pytest.raises(RequestInvalid) as caught:
        client.create(image)

    assert caught.value.param == "image_start"
    assert service.calls == []


def test_the_edges_are_sent(client, service, kit):
    """What is just allowed passes: characters count, not bytes."""
    for duration, quality in ((3, "720p"), (15, "1080p")):
        client.create(kit.image, duration=duration, quality=quality, prompt="風" * 2500)
    client.create(kit.image, prompt="", callback_url="https://hooks.example.com:8443/a?b=c")

    assert len(service.seen("create")) == 3


def test_another_contract_makes_another_client(make_client, service, kit):
    """One contract: change a number there, and nothing here."""
    document = copy.deepcopy(kling_openapi.service())
    schemas = document["components"]["schemas"]
    schemas["Duration"]["maximum"] = 20
    schemas["CreateVideo"]["properties"]["prompt"]["maxLength"] = 5
    schemas["TaskErrorCode"]["oneOf"].append({"const": "brand_new", "x-retryable": True})
    contract = Contract(document)
    client = make_client(contract=contract)

    client.create(kit.image, duration=20)
    with pytest.raises(RequestInvalid):
        client.create(kit.image, prompt="123456")

    assert contract.retryable("brand_new")
    assert contract.retryable("service_error")
    assert not contract.retryable("content_policy_violation")
    assert not contract.retryable(None)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.test",
        "http://10.0.0.1",
        "ftp://api.test",
        "https://",
        "https://user:pw@api.test",
        "https://api.test/?key=1",
        "https://[::bad",
        "https://api.test:99999",
    ],
)
def test_doubtful_base_urls_are_refused(url):
    """CQ-06: plain http would show the key."""
    with pytest.raises(ConfigError) as caught:
        Client(CREDENTIALS[0], url)

    assert CREDENTIALS[0] not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4010", "http://localhost:1/", "http://[::1]:5", "https://api.test/v"]
)
def test_good_base_urls_are_taken(url):
    """Loopback http is fine, and anything when the user says so."""
    assert Client(CREDENTIALS[0], url).base_url == url.rstrip("/")
    assert Client(CREDENTIALS[0], "http://mock:4010", allow_http=True).base_url == "http://mock:4010"


@pytest.mark.parametrize("key", ["", "with space", "line\nbreak", "ümlaut", "tab\t"])
def test_keys_that_no_header_can_carry_are_refused(key):
    """And not shown."""
    with pytest.raises(ConfigError) as caught:
        Client(key, CREDENTIALS[1])

    assert not key or key not in str(caught.value)


def test_the_environment_names_service_and_key(monkeypatch):
    """KLING_ first, then EVOLINK_, then the contract's server."""
    monkeypatch.setenv("EVOLINK_API_KEY", "sk-evolink")
    assert Client().base_url == kling_openapi.service()["servers"][0]["url"]
    monkeypatch.setenv("EVOLINK_BASE_URL", "https://evolink.test")
    assert Client().base_url == "https://evolink.test"
    monkeypatch.setenv("KLING_BASE_URL", "https://kling.test")
    assert Client().base_url == "https://kling.test"


def test_no_repr_shows_the_key(client, kit):
    """Not the client's, not that of what it holds."""
    shown = repr(client) + repr(vars(client)) + repr(vars(client._api))

    assert kit.key not in shown


def test_an_error_that_echoes_the_key_is_blotted(client, service, kit):
    """CQ-03: servers should not, but some do."""
    service.on("poll", kit.refused(400, message=f"bad key {kit.key}\n\x1b[31m"))

    with pytest.raises(Exception, match=r"\*\*\*") as caught:
        client.get(kit.task_id)

    assert kit.key not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_the_balance_is_read(client, kit):
    """As the service says it."""
    assert client.credits()["token"]["remaining_credits"] == 9


@pytest.mark.parametrize("kind", ["poll", "credits", "upload"])
def test_answers_that_make_no_sense_are_server_errors(client, service, kit, tmp_path, kind):
    """CP-15, for every call."""
    Image.new("RGB", (400, 400)).save(tmp_path / "a.png")
    service.on(kind, kit.answer({"id": "another", "data": 5}))
    calls = {
        "poll": lambda: client.get(kit.task_id),
        "credits": client.credits,
        "upload": lambda: client.upload("a.png"),
    }

    with pytest.raises(ServerError):
        calls[kind]()


def test_a_huge_answer_is_not_swallowed(client, service, kit):
    """A broken server cannot fill the memory."""
    service.on("poll", kit.reply(200, {}, b"x" * (9 << 20)))

    with pytest.raises(ServerError, match="too large"):
        client.get(kit.task_id)


def test_a_local_file_is_uploaded(make_client, service, kit, tmp_path):
    """To the files host, once, and its URL is the first frame."""
    path = tmp_path / "a.jpg"
    Image.new("RGB", (640, 400)).save(path)

    make_client(files_base_url="https://upload.test").create(path, duration=3)

    upload, create = service.calls
    assert upload.url == "https://upload.test/api/v1/files/upload/stream"
    assert path.read_bytes() in upload.body
    assert json.loads(create.body)["image_start"] == f"{kit.files}/frame.png"


def test_an_upload_is_tried_again(client, service, kit, tmp_path):
    """It costs nothing; but not for ever."""
    path = tmp_path / "a.jpg"
    Image.new("RGB", (640, 400)).save(path)
    fine = kit.answer({"success": True, "data": {"file_url": f"{kit.files}/frame.png"}})
    service.on("upload", kit.refused(503), kit.refused(429, Retry_After="9"), fine)
    assert client.upload(path) == f"{kit.files}/frame.png"
    assert kit.gaps(service.seen("upload"))[1] >= 9

    service.on("upload", kit.refused(503))
    with pytest.raises(ServerError):
        client.upload(path)

    assert len(service.seen("upload")) == 6


def _images(folder):
    """Files that no first frame can be."""
    Image.new("RGB", (299, 400)).save(folder / "small.png")
    Image.new("RGB", (751, 300)).save(folder / "wide.png")
    Image.new("RGB", (300, 751)).save(folder / "tall.png")
    Image.new("RGB", (400, 400)).save(folder / "moving.gif")
    Image.new("RGB", (400, 400)).save(folder / "renamed.jpg", "BMP")
    (folder / "text.png").write_text("hello")
    (folder / "empty.png").write_bytes(b"")
    with (folder / "big.png").open("wb") as big:
        big.truncate(52_428_801)
    (folder / "folder.png").mkdir()


@pytest.mark.parametrize(
    "name",
    [
        "small.png",
        "wide.png",
        "tall.png",
        "moving.gif",
        "renamed.jpg",
        "text.png",
        "empty.png",
        "big.png",
        "folder.png",
        "none.png",
        "",
    ],
)
def test_local_files_that_cannot_be_first_frames_are_refused_before_anything(client, service, tmp_path, name):
    """No upload and no create is spent on them."""
    _images(tmp_path)

    with pytest.raises(RequestInvalid) as caught:
        client.create(tmp_path / name)

    assert caught.value.param == "image_start"
    assert service.calls == []


@pytest.mark.parametrize("size", [(300, 750), (750, 300), (300, 300)])
def test_the_edges_of_images_pass(client, service, tmp_path, size):
    """Both bounds of the ratio are included."""
    Image.new("RGB", size).save(tmp_path / "a.png")

    client.create(tmp_path / "a.png")

    assert len(service.seen("create")) == 1


def test_a_bad_wish_is_found_before_the_upload(client, service, tmp_path):
    """Cheap checks come first."""
    Image.new("RGB", (400, 400)).save(tmp_path / "a.png")

    with pytest.raises(RequestInvalid):
        client.create(tmp_path / "a.png", duration=99)

    assert service.calls == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("127.0.0.1:4010/v1", "http://127.0.0.1:4010"),
        ("localhost", "http://localhost"),
        ("LOCALHOST:4010/", "http://localhost:4010"),
        ("[::1]:4010", "http://[::1]:4010"),
        ("api.example.com", "https://api.example.com"),
        ("api.example.com:8443/prefix/v1/", "https://api.example.com:8443/prefix"),
    ],
)
def test_a_base_url_is_taken_as_it_is_typed(typed: str, meant: str) -> None:
    """Without a scheme: http on the loopback, where no key leaves the machine, https for other hosts."""
    assert check_base_url(typed, allow_http=False) == meant


@pytest.mark.parametrize("typed", ["nonsense", "", "/", "//example.com", "mailto:a", ":4010", "ftp://localhost"])
def test_what_is_no_base_url_says_how_to_write_one(typed: str) -> None:
    """One line with the form; a bare word is more often a mistake than a host."""
    with pytest.raises(ConfigError, match=r"base URL|host"):
        check_base_url(typed, allow_http=False)
