"""The files API: uploads of three kinds, their limits, their URLs, and first frames made of them."""

import io
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
import requests
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import kling_openapi

LIMITS = kling_openapi.service()["components"]["schemas"]["UploadedFile"]["x-files"]
STREAM, BASE64, URL = (f"/api/v1/files/upload/{kind}" for kind in ("stream", "base64", "url"))
OTHER = "sk-other"


def picture(kind: str = "jpeg", size: tuple[int, int] = (640, 480), colour: str = "teal") -> bytes:
    """A file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


JPEG = picture()


def stream(rig: Any, data: bytes = JPEG, name: str = "photo.jpg", *, key: str = "sk-test", **fields: str) -> Any:
    """An upload as multipart. Built here, because the test client leaves the file of a large form open."""
    prepared = requests.Request(
        "POST", "http://fake", files={"file": (name, data, "audio/mpeg")}, data=fields
    ).prepare()
    return rig.call("POST", STREAM, key=key, data=prepared.body, content_type=prepared.headers["content-type"])


def stored(response: Any) -> Any:
    """What an upload that went well answers."""
    assert response.status_code == 200, response.json
    return response.json["data"]


def path_of(url: str) -> str:
    """Path and query of *url*, as they go over the wire."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def get(rig: Any, url: str, method: str = "GET", **more: Any) -> Any:
    """What stands behind a file's URL; no key is sent."""
    return rig.call(method, path_of(url), key=None, bent=True, **more)


def refused(response: Any, code: int, word: str = "") -> bool:
    """Whether it is this refusal of the file host: the code begins with the status, and *word* is in the message."""
    body = response.json
    status = int(str(code)[:3])
    return (response.status_code, body["success"], body["code"]) == (status, False, code) and word in body["msg"]


def bad_frame(response: Any) -> bool:
    """Whether a create was refused for its first frame."""
    return (response.status_code, response.json["error"].get("param")) == (400, "image_start")


def gif(size: int = 100) -> bytes:
    """So many bytes that begin as a GIF does."""
    return b"GIF89a".ljust(size, b"x")


@pytest.fixture
def small(make: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """A fake under a contract of small limits: 1000 bytes, 3 files, 60 seconds."""
    document = kling_openapi.read(kling_openapi.SERVICE)
    limits = {**LIMITS, "max_bytes": 1000, "max_files": 3, "lifetime_seconds": 60}
    document["components"]["schemas"]["UploadedFile"]["x-files"] = limits
    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return lambda **settings: make(contract=path, **settings)


def test_stream(rig: Any) -> None:
    """
    What comes back describes the file, and its URL gives the bytes to anybody.
    """
    now = rig.now()
    data = stored(stream(rig, file_name="start.jpg", upload_path="frames/today"))
    assert (data["file_name"], data["original_name"], data["upload_path"]) == ("start.jpg", "photo.jpg", "frames/today")
    assert (data["file_size"], data["mime_type"]) == (len(JPEG), "image/jpeg")
    assert rig.account().uploads[data["file_id"]].expires_at == now + LIMITS["lifetime_seconds"]
    answer = get(rig, data["file_url"])
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/jpeg", JPEG)
    assert "content-disposition" not in answer.headers
    saved = get(rig, data["download_url"])
    assert saved.headers["content-disposition"] == "attachment; filename*=UTF-8''start.jpg"


def test_head_ranges_and_conditions(rig: Any) -> None:
    """
    HEAD, a part, a part that is not there, and nothing new.
    """
    url = stored(stream(rig))["file_url"]
    head = get(rig, url, "HEAD")
    assert (head.status_code, head.data, int(head.headers["content-length"])) == (200, b"", len(JPEG))
    part = get(rig, url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, JPEG[10:20])
    beyond = get(rig, url, headers={"Range": "bytes=99999999-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(JPEG)}")
    assert get(rig, url, headers={"If-None-Match": head.headers["etag"]}).status_code == 304


def test_names_have_two_spellings(rig: Any) -> None:
    """
    The vendor's client sends camelCase, the manual shows the other.
    """
    for names in ({"file_name": "a.jpg", "upload_path": "b"}, {"fileName": "a.jpg", "uploadPath": "b"}):
        text = b64encode(JPEG).decode()
        for data in (
            stored(stream(rig, **names)),
            stored(rig.call("POST", BASE64, json={"base64_data": text, **names})),
        ):
            assert (data["file_name"], data["upload_path"]) == ("a.jpg", "b")


def test_the_same_name_is_replaced(rig: Any) -> None:
    """
    In one folder a name is one file: the older one is gone, and an account that is full may still replace.
    """
    first, elsewhere = stored(stream(rig, gif(7))), stored(stream(rig, gif(8), upload_path="b"))
    second = stored(stream(rig, gif(9)))
    assert get(rig, first["file_url"]).status_code == 404
    assert get(rig, second["file_url"]).data == gif(9)
    assert get(rig, elsewhere["file_url"]).data == gif(8)
    assert rig.call("GET", "/api/v1/files/list").json["data"]["total"] == 2


@pytest.mark.parametrize("data", [b"x", b"<html>", picture("bmp"), picture("tiff"), b"%PDF-1.7", b"ID3"])
def test_only_images_are_taken(rig: Any, data: bytes) -> None:
    """
    JPEG, PNG, GIF and WebP, by their bytes; anything else is 40002.
    """
    assert refused(stream(rig, data), 40002, "image/webp")
    assert rig.call("GET", "/api/v1/files/quota").json["data"]["used_files"] == 0


def test_a_receipt_says_what_became_of_an_upload(rig: Any) -> None:
    """
    By the id that the upload gave itself; an unknown id is an outcome unknown.
    """
    text = b64encode(JPEG).decode()
    made = stored(rig.call("POST", BASE64, json={"base64_data": text}, headers={"X-Evo-Upload-Id": "run_1"}))
    known = rig.call("GET", "/api/v1/files/upload-receipts/run_1").json["data"]
    assert known == {"upload_id": "run_1", "state": "done", "result_verified": True, "file": made}
    unknown = rig.call("GET", "/api/v1/files/upload-receipts/run_2").json["data"]
    assert (unknown["state"], unknown["result_verified"], unknown["file"]) == ("outcome_unknown", False, None)
    assert rig.call("GET", "/api/v1/files/upload-receipts/run_1", key=OTHER).json["data"]["file"] is None


def test_a_token_stands_for_the_key_on_the_file_host(rig: Any) -> None:
    """
    For its time and there alone; a forged or a foreign one is 401.
    """
    made = rig.call("POST", "/v1/files/upload-token").json
    token = made["upload_token"]
    stored(stream(rig, key=token))
    assert rig.call("GET", "/api/v1/files/quota").json["data"]["used_files"] == 1
    assert rig.call("GET", "/v1/credits", key=token).status_code == 401
    assert refused(stream(rig, key=token[:-1] + ("0" if token[-1] != "0" else "1")), 401)
    assert refused(stream(rig, key="evup_x.y.z"), 401)
    rig.advance(made["expires_at"] - rig.now())
    assert refused(stream(rig, key=token), 401)


def test_different_names_are_two_files(rig: Any) -> None:
    """
    Two ids and two URLs; forgetting one leaves the other.
    """
    first, second = stored(stream(rig)), stored(stream(rig, name="other.jpg"))
    assert first["file_id"] != second["file_id"]
    assert rig.call("DELETE", f"/api/v1/files/{first['file_id']}").status_code == 200
    assert get(rig, first["file_url"]).status_code == 404
    assert get(rig, second["file_url"]).data == JPEG


def test_base64(rig: Any) -> None:
    """
    Bare, wrapped in lines or behind a data URL, whose word about the type does not count.
    """
    text = b64encode(JPEG).decode()
    wrapped = "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    for sent in (text, wrapped, f"data:image/png;base64,{text}", f"DATA:;base64,{text}"):
        data = stored(rig.call("POST", BASE64, json={"base64_data": sent}))
        assert (data["mime_type"], data["file_name"]) == ("image/jpeg", "file.jpg")
        assert get(rig, data["file_url"]).data == JPEG
    assert stored(rig.call("POST", BASE64, json={"base64_data": text, "file_name": "../a"}))["file_name"] == "a"


@pytest.mark.parametrize("bad", ["%%%", "AAA", "A===", "data:image/png,AAAA", "data:;base64,", "ÄÄÄÄ", "QUJD=QUJD"])
def test_bad_base64(rig: Any, bad: str) -> None:
    """
    400 that names the field.
    """
    assert refused(rig.call("POST", BASE64, json={"base64_data": bad}), 400, "base64_data")


def test_from_a_url(rig: Any) -> None:
    """
    The fake's own drawings and uploads come without a network; the name is the path's.
    """
    drawn = stored(rig.call("POST", URL, json={"file_url": "https://image.test/640x480.png"}))
    assert (drawn["file_name"], drawn["mime_type"]) == ("640x480.png", "image/png")
    again = stored(rig.call("POST", URL, json={"file_url": drawn["file_url"], "file_name": "copy"}))
    assert (again["file_size"], again["original_name"], again["file_name"]) == (
        drawn["file_size"],
        "640x480.png",
        "copy",
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://image.test/640x480.png?status=404",
        "https://image.test/nothing",
        "http://10.0.0.1/x.png",
        "https://user@8.8.8.8/x.png",
        "http://127.0.0.1:1/x.png",
        "ftp://image.test/640x480.png",
        "data:image/png;base64,AAAA",
    ],
)
def test_urls_that_give_nothing(rig: Any, url: str) -> None:
    """
    40004, or 400 for what is no http URL: not there, internal, no listener.
    """
    code = 40004 if url.startswith("http") else 400
    assert refused(rig.call("POST", URL, json={"file_url": url}), code, "file_url")


def test_offline_fetches_nothing(make: Callable[..., Any]) -> None:
    """
    Offline a foreign URL is refused with the reason; the fake's own places still work, and a dead file is dead.
    """
    rig = make(images="offline")
    response = rig.call("POST", URL, json={"file_url": "https://8.8.8.8/x.png"})
    assert refused(response, 40004, "--images offline")
    data = stored(rig.call("POST", URL, json={"file_url": "https://image.test/640x480.png"}))
    rig.call("DELETE", f"/api/v1/files/{data['file_id']}")
    assert bad_frame(rig.create(image_start=data["file_url"]))


def test_limits(small: Callable[..., Any]) -> None:
    """
    The contract's numbers rule: a byte too many is 40001 whichever way it comes, a file too many is 40003.
    """
    rig = small()
    assert refused(stream(rig, gif(1001)), 40001)
    assert refused(stream(rig, gif(2_000_000)), 40001)
    assert refused(rig.call("POST", BASE64, json={"base64_data": b64encode(gif(1001)).decode()}), 40001)
    assert refused(rig.call("POST", BASE64, json={"base64_data": "A" * 2_000_000}), 40001)
    assert refused(rig.call("POST", URL, json={"file_url": "https://image.test/640x480.png"}), 40001, "file_url")
    for number in range(3):
        stored(stream(rig, gif(1000), f"{number}.gif"))
    assert refused(stream(rig, gif()), 40003)
    stored(stream(rig, gif(), "2.gif"))
    stored(stream(rig, gif(), key=OTHER))
    quota = rig.call("GET", "/api/v1/files/quota").json["data"]
    assert quota == {"user_group": "default", "used_files": 3, "max_files": 3, "remain_files": 0}
    rig.advance(60)
    stored(stream(rig, gif()))


def test_quota_holds_under_a_rush(small: Callable[..., Any]) -> None:
    """
    Twelve uploads at once into room for three: three are taken.
    """
    rig = small()
    with ThreadPoolExecutor(12) as pool:
        statuses = sorted(
            answer.status_code for answer in pool.map(lambda number: stream(rig, gif(500), f"{number}.gif"), range(12))
        )
    assert statuses == [200] * 3 + [400] * 9
    assert len(rig.account().uploads) == 3


def test_no_room(make: Callable[..., Any]) -> None:
    """
    Past the store's own bound an upload is a documented 500 that says so; a deleted file makes room at once.
    """
    rig = make(service_settings={"upload_store_bytes": 1500})
    first = stored(stream(rig, gif(1000)))
    assert refused(stream(rig, gif(501), key=OTHER), 50001, "1500 bytes")
    rig.call("DELETE", f"/api/v1/files/{first['file_id']}")
    stored(stream(rig, gif(1500), key=OTHER))


def test_expiry(rig: Any) -> None:
    """
    Alive to its last moment, dead at its end: URL, list, quota, delete and first frame.
    """
    data = stored(stream(rig))
    url = data["file_url"]
    rig.account().move_to(rig.account().uploads[data["file_id"]].expires_at - 0.01)
    assert get(rig, url).status_code == 200
    assert rig.create(image_start=url).status_code == 200
    rig.advance(0.01)
    assert get(rig, url).status_code == 404
    assert rig.call("GET", "/api/v1/files/list").json["data"]["total"] == 0
    assert rig.call("GET", "/api/v1/files/quota").json["data"]["used_files"] == 0
    assert refused(rig.call("DELETE", f"/api/v1/files/{data['file_id']}"), 404)
    assert bad_frame(rig.create(image_start=url))


def test_list(rig: Any) -> None:
    """
    Newest first, in pages; of this key only.
    """
    made = [stored(stream(rig, gif(), f"{number}.gif")) for number in range(5)]
    page = rig.call("GET", "/api/v1/files/list?page=2&pageSize=2").json["data"]
    row = ("file_id", "file_name", "file_size", "upload_time")
    assert page == {"files": [{name: one[name] for name in row} for one in (made[2], made[1])], "total": 5}
    assert refused(rig.call("GET", "/api/v1/files/list?pageSize=101"), 400, "pageSize")
    assert rig.call("GET", "/api/v1/files/list", key=OTHER).json["data"]["files"] == []


def test_files_are_the_keys_own(rig: Any) -> None:
    """
    Another key cannot delete a file; its URL needs no key, so that another's create may use it as it may use any URL.
    """
    data = stored(stream(rig))
    assert refused(rig.call("DELETE", f"/api/v1/files/{data['file_id']}", key=OTHER), 404)
    assert rig.create(key=OTHER, image_start=data["file_url"]).status_code == 200
    wrong = data["file_url"].replace(rig.account().name, rig.account(OTHER).name)
    assert get(rig, wrong).status_code == 404
    assert bad_frame(rig.create(image_start=wrong))


def test_reset_removes_everything(rig: Any) -> None:
    """
    After a reset no file is left, in the account or on disk.
    """
    data = stored(stream(rig))
    assert rig.account().uploads[data["file_id"]].content.read()
    rig.control("POST", "/reset")
    assert not rig.account().uploads
    assert get(rig, data["file_url"]).status_code == 404


@pytest.mark.parametrize(
    "host", ["http://localhost:4010", "https://files-api.evolink.ai", "http://mock", "HTTP://[::1]:9"]
)
def test_first_frames_are_found_under_any_name_of_the_fake(rig: Any, host: str) -> None:
    """
    The path says whose file it is; the name in it does not matter, nor does a query.
    """
    parts = urlsplit(stored(stream(rig))["file_url"])
    assert rig.create(image_start=f"{host}{parts.path}?download=1").status_code == 200
    account, file_id = parts.path.split("/")[2:4]
    assert rig.create(image_start=f"{host}/uploads/{account}/{file_id}/other.gif").status_code == 200
    assert bad_frame(rig.create(image_start=f"{host}/uploads/{account}/{file_id[::-1]}/x.jpg"))


def test_first_frames_are_checked(rig: Any) -> None:
    """
    An upload is judged by its bytes, as any image is.
    """
    for data, name in (
        (picture("gif"), "a.jpg"),
        (picture(size=(200, 800)), "b.jpg"),
        (JPEG[:400], "c.jpg"),
    ):
        assert bad_frame(rig.create(image_start=stored(stream(rig, data, name))["file_url"]))


@pytest.mark.parametrize(
    ("data", "expected"),
    [(picture("webp"), "image/webp"), (picture("png"), "image/png"), (gif(), "image/gif")],
)
def test_types_come_from_the_content(rig: Any, data: bytes, expected: str) -> None:
    """
    Whatever name and header say; and nothing that was uploaded runs in the page.
    """
    entry = stored(stream(rig, data, "x.mp3"))
    served = get(rig, entry["file_url"])
    assert entry["mime_type"] == served.mimetype == expected
    assert (served.headers["content-security-policy"], served.headers["x-content-type-options"]) == (
        "sandbox",
        "nosniff",
    )


PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\nGIF89a\r\n'
FORM = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "param"),
    [
        ("application/json", b"{}", 400, ""),
        ("application/x-www-form-urlencoded", b"file=x", 400, ""),
        ("", b"", 400, ""),
        ("multipart/mixed; boundary=b", PART + b"--b--", 400, ""),
        ("multipart/form-data", PART + b"--b--", 400, ""),
        ("multipart/form-data; boundary=ü", PART + b"--b--", 400, ""),
        (FORM, b"", 400, "file"),
        (FORM, b"no parts at all", 400, ""),
        (FORM, PART, 400, ""),
        (FORM, b"--b--\r\n", 400, "file"),
        (FORM, PART.replace(b"file", b"image", 1) + b"--b--", 400, "file"),
        (FORM, PART.replace(b'; filename="a.jpg"', b"") + b"--b--", 400, "file"),
        (FORM, PART.replace(b"GIF89a", b"") + b"--b--", 400, "file"),
        (FORM, PART + PART + b"--b--", 400, "file"),
        (FORM, PART.replace(b'file"; filename="a.jpg', b"file_name").replace(b"GIF89a", b"n" * 256) + PART + b"--b--", 400, "file_name"),
        (FORM, PART.replace(b"file", b"f") * 40 + PART + b"--b--", 40001, ""),
    ],
)  # fmt: skip
def test_bad_forms(rig: Any, content_type: str, body: bytes, status: int, param: str) -> None:
    """
    The wrong type, no boundary, cut short, no file, text for a file, an empty one, two at once, a long name, too many parts.
    """
    assert refused(rig.call("POST", STREAM, data=body, content_type=content_type), status, param)
    assert rig.call("GET", "/api/v1/files/quota").json["data"]["used_files"] == 0


def test_bad_json(rig: Any) -> None:
    """
    Missing and mistyped members, as everywhere.
    """
    for path, field in ((BASE64, "base64_data"), (URL, "file_url")):
        for body in ({}, {field: None}, {field: 5}, {field: ""}):
            assert refused(rig.call("POST", path, json=body), 400, field)
        assert refused(rig.call("POST", path, json={field: "x", "file_name": "n" * 256}), 400)


@pytest.fixture(scope="module")
def shared(new_rig: Callable[..., Any]) -> Any:
    """One rig for many examples."""
    rig = new_rig()
    yield rig
    rig.close()


@given(name=st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
@settings(max_examples=40, deadline=None)
def test_any_name_makes_a_url_that_works(shared: Any, name: str) -> None:
    """
    Whatever a file is called, its URL leads to it and ends in its name, and that name can be shown.
    """
    data = stored(shared.call("POST", BASE64, json={"base64_data": "R0lGODlheHl6", "file_name": name}))
    assert unquote(data["file_url"].rpartition("/")[2]) == data["file_name"] != ""
    assert get(shared, data["file_url"]).data == b"GIF89axyz"
    disposition = get(shared, data["download_url"]).headers["content-disposition"]
    assert disposition == f"attachment; filename*=UTF-8''{quote(data['file_name'], safe='')}"
    shared.call("DELETE", f"/api/v1/files/{data['file_id']}")


@given(junk=st.binary(max_size=200), at=st.integers(0, 120), cut=st.integers(0, 200))
@settings(max_examples=100, deadline=None)
def test_broken_forms_are_answered(shared: Any, junk: bytes, at: int, cut: int) -> None:
    """
    Whatever is in a form, wherever it is cut, the answer is one that the contract knows.
    """
    whole = PART + b"--b--\r\n"
    for body in (junk, (whole[:at] + junk + whole[at:])[:cut], whole[:at] + junk):
        answer = shared.call("POST", STREAM, data=body, content_type=FORM)
        assert answer.status_code in (200, 400)
        if answer.status_code == 200:
            shared.call("DELETE", f"/api/v1/files/{answer.json['data']['file_id']}")
