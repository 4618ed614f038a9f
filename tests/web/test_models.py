"""Every model of the contract through the fake: what is taken, refused, charged and made follows the model's file alone."""

from collections.abc import Callable
from typing import Any

import pytest

import kling_openapi
from kling_mock.media.clips import make as made
from kling_mock.media.clips import parse_clip, probe
from kling_openapi.near_misses import near_misses

FAMILY = kling_openapi.family()
NAMES = pytest.mark.parametrize("name", FAMILY.models)
MOTION = "kling-v3-motion-control"
IMAGE = "https://image.test/640x640.png"


def create(rig: Any, body: dict[str, Any], **more: Any) -> Any:
    """A create of any model, judged against that model's own contract."""
    sent = {name: value for name, value in body.items() if name != "callback_url"}
    return rig.call("POST", "/v1/videos/generations", json=sent, bent=True, **more)


def refused(rig: Any, body: dict[str, Any]) -> tuple[int, str | None]:
    """Status and param of a refusal, which made nothing."""
    before = len(rig.account().tasks)
    response = create(rig, body)
    assert len(rig.account().tasks) == before
    return response.status_code, response.json["error"].get("param")


def moved(**more: Any) -> dict[str, Any]:
    """A motion control create."""
    params = {"character_orientation": "video", **more.pop("model_params", {})}
    video = more.pop("video", "https://video.test/1280x720-8s.mp4")
    return {"model": MOTION, "image_urls": [IMAGE], "video_urls": [video], "model_params": params, **more}


@NAMES
def test_every_example_becomes_what_its_file_says(rig: Any, name: str, validator: Callable[..., Any]) -> None:
    """Taken, priced, completed, charged once, and each body is one of the model's own contract."""
    model, document = FAMILY.models[name], FAMILY.document(name)
    for body in model.examples:
        before = rig.account().credits
        response = create(rig, body)
        assert response.status_code == 200, response.json
        validator(document, "components", "schemas", "CreatedTask").validate(response.json)
        assert response.json["model"] == name
        reserved = response.json["usage"]["credits_reserved"]
        assert rig.account().credits == pytest.approx(before - reserved)
        rig.advance(100)
        done = rig.call("GET", f"/v1/tasks/{response.json['id']}", bent=True).json
        validator(document, "components", "schemas", "CompletedTask").validate(done)
        assert rig.account().credits == pytest.approx(before - done["usage"]["credits_used"])


@NAMES
def test_every_near_miss_is_refused_at_its_field(rig: Any, name: str) -> None:
    """400 with the field, nested where it is nested; nothing made, nothing charged."""
    credits = rig.account().credits
    model = FAMILY.models[name]
    derived = [it for body in model.examples for it in near_misses(model, body) if it.param != "callback_url"]
    wrong = [(it.param, it.value) for it in derived if refused(rig, it.body) != (400, it.param)]

    assert wrong == []
    assert rig.account().credits == credits


def test_a_nested_field_is_named_in_full(rig: Any) -> None:
    """The third shot's seconds, as a number."""
    shots = [{"index": n, "prompt": "x", "duration": "2"} for n in (1, 2, 3)]
    shots[2]["duration"] = 2  # type: ignore[assignment]
    params = {"multi_shot": True, "shot_type": "customize", "multi_prompt": shots}
    body = {"model": "kling-v3-text-to-video", "duration": 6, "model_params": params}

    assert refused(rig, body) == (400, "model_params.multi_prompt[2].duration")


@pytest.mark.parametrize("model", ["kling-v9", "gpt-4o", "kling-v3-image", "nano-banana-2", "KLING-V3-TEXT-TO-VIDEO"])
def test_an_unknown_model_is_refused(rig: Any, model: str) -> None:
    """Of another medium too; the message names those that are served."""
    response = create(rig, {"model": model, "prompt": "x"})

    assert (response.status_code, response.json["error"]["param"]) == (400, "model")
    assert "kling-v3-turbo-image-to-video" in response.json["error"]["message"]


def test_a_model_switched_off_for_the_key(rig: Any) -> None:
    """403 for this key alone."""
    rig.control("PUT", "/account", {"models": [MOTION]}, key="sk-test")
    body = {"model": "kling-v3-turbo-text-to-video", "prompt": "x"}

    assert create(rig, moved()).status_code == 200
    assert refused(rig, body) == (403, "model")
    assert create(rig, body, key="sk-other").status_code == 200


def test_only_the_models_asked_for_are_served(make: Callable[..., Any]) -> None:
    """`--models`: the others are unknown, and not listed."""
    rig = make(models=("kling-v3-text-to-video", MOTION))

    assert {it["id"] for it in rig.call("GET", "/v1/models").json["data"]} == {"kling-v3-text-to-video", MOTION}
    assert create(rig, moved()).status_code == 200
    assert refused(rig, {"model": "kling-v3-turbo-text-to-video", "prompt": "x"}) == (400, "model")
    with pytest.raises(kling_openapi.ContractError, match="there is no model 'kling-9'"):
        make(models=("kling-9",))


@pytest.mark.parametrize(
    ("video", "orientation", "status"),
    [
        ("1280x720-3s.mp4", "video", 200),
        ("1280x720-2.9s.mp4", "video", 400),
        ("1280x720-30s.mp4", "video", 200),
        ("1280x720-31s.mp4", "video", 400),
        ("1280x720-10s.mp4", "image", 200),
        ("1280x720-10.5s.mp4", "image", 400),
        ("340x340-4s.mov", "video", 200),
        ("338x340-4s.mp4", "video", 400),
        ("1280x720-4s.mp4?as=mkv", "video", 400),
        ("1280x720-4s.mp4?truncated", "video", 400),
        ("1280x720-4s.mp4?status=404", "video", 400),
        ("1280x720-4s.mp4?bytes=104857600", "video", 200),
        ("1280x720-4s.mp4?bytes=104857601", "video", 400),
        ("1280x720-4s.xyz", "video", 400),
    ],
)
def test_a_video_is_looked_at(rig: Any, video: str, orientation: str, status: int) -> None:
    """Its bytes: length, sides, format, size; and what another field allows."""
    body = moved(video=f"https://video.test/{video}", model_params={"character_orientation": orientation})
    response = create(rig, body)

    assert response.status_code == status, response.json
    assert status == 200 or response.json["error"]["param"] == "video_urls[0]"


def test_motion_is_as_long_and_as_wide_as_its_video(rig: Any) -> None:
    """The output has the input's seconds and ratio, and the price follows."""
    response = create(rig, moved(video="https://video.test/720x1280-4s.mp4", quality="1080p")).json
    assert response["task_info"]["video_duration"] == 4
    rig.advance(100)
    link = rig.call("GET", f"/v1/tasks/{response['id']}", bent=True).json["results"][0]
    data = rig.app.test_client().get(link.removeprefix("http://127.0.0.1:4010")).data
    found = probe(data, "video")

    assert (found.width, found.height, found.seconds) == (1080, 1920, 4)


def test_a_fetched_video_is_probed(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another server sends is looked at too: its bytes, whatever its name says."""
    clip = parse_clip("https://video.test/640x360-6s.mp4")
    assert clip is not None
    data = made(clip).data
    monkeypatch.setattr(rig.fake.world.frames, "_fetch", lambda *_: (data, False))

    assert create(rig, moved(video="https://cdn.example.com/dance.gif")).json["task_info"]["video_duration"] == 6


def test_offline_a_video_counts_as_the_setting_says(make: Callable[..., Any]) -> None:
    """It is not looked at; what the fake makes itself still is."""
    rig = make(images="offline", service_settings={"offline_seconds": 12})

    assert create(rig, moved(video="https://cdn.example.com/a.mp4")).json["task_info"]["video_duration"] == 12
    assert create(rig, moved()).json["task_info"]["video_duration"] == 8


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({"model": "kling-v3-turbo-text-to-video", "prompt": "x", "aspect_ratio": "9:16"}, (720, 1280)),
        ({"model": "kling-v3-text-to-video", "prompt": "x", "aspect_ratio": "1:1", "quality": "1080p"}, (1080, 1080)),
        ({"model": "seedance-1.5-pro", "prompt": "x", "quality": "480p", "aspect_ratio": "21:9"}, (1120, 480)),
        ({"model": "seedance-1.5-pro", "prompt": "x", "image_urls": [IMAGE], "aspect_ratio": "adaptive"}, (720, 720)),
        ({"model": "wan2.7-image-to-video", "image_start": "https://image.test/800x600.png"}, (1104, 832)),
    ],
)
def test_the_video_has_the_shape_that_was_asked_for(rig: Any, body: dict[str, Any], size: tuple[int, int]) -> None:
    """By a field, by a picture, by the page's table of pixels; where no picture is given one is drawn."""
    task_id = create(rig, body).json["id"]
    rig.advance(100)
    link = rig.call("GET", f"/v1/tasks/{task_id}", bent=True).json["results"][0]
    found = probe(rig.app.test_client().get(link.removeprefix("http://127.0.0.1:4010")).data, "video")

    assert (found.width, found.height) == size


def test_an_element_is_an_id(rig: Any) -> None:
    """No link, no length; the id is the same at each read and another for each task."""
    ids = set()
    for body in FAMILY.models["kling-custom-element"].examples:
        task_id = create(rig, body).json["id"]
        rig.advance(100)
        shown = [rig.call("GET", f"/v1/tasks/{task_id}", bent=True).json for _ in range(2)]
        assert shown[0] == shown[1]
        assert "results" not in shown[0]
        assert "video_duration" not in shown[0]["task_info"]
        ids.add(shown[0]["result_data"][0]["element_id"])

    assert len(ids) == 2


@pytest.fixture(name="several")
def several_fixture(tmp_path: Any, make: Callable[..., Any]) -> Any:
    """A fake with a model whose tasks give three videos."""
    name = "kling-v3-turbo-text-to-video"
    text = FAMILY.models[name].path.read_text(encoding="utf-8").replace(name, "acme-three")
    (tmp_path / "acme-three.yaml").write_text(
        text.replace("medium: video,", "medium: video, count: 3,"), encoding="utf-8"
    )
    return make(contract=tmp_path)


def test_several_links(several: Any) -> None:
    """Each opens, and each is another file."""
    task_id = create(several, {"model": "acme-three", "prompt": "x", "duration": 3}).json["id"]
    several.advance(100)
    links = several.call("GET", f"/v1/tasks/{task_id}", bent=True).json["results"]
    files = {several.app.test_client().get(it.removeprefix("http://127.0.0.1:4010")).data for it in links}

    assert len(links) == len(files) == 3


def test_a_scenario_and_a_callback_work_for_any_model(make: Callable[..., Any]) -> None:
    """Failed by its prompt's tag, called back once, nothing charged."""
    rig = make(relays={"https://hooks.example.com": "http://127.0.0.1:9"})
    before = rig.account().credits
    body = {"model": "kling-o3-text-to-video", "prompt": "x [[failed code=service_error]]"}
    response = rig.call(
        "POST", "/v1/videos/generations", json={**body, "callback_url": "https://hooks.example.com/a"}, bent=True
    )
    rig.receiver.bent = True  # its body is one of another model's contract
    rig.advance(200)

    assert [call.body["error"]["code"] for call in rig.receiver.calls] == ["service_error"]
    assert rig.receiver.calls[0].body["id"] == response.json["id"]
    assert rig.account().credits == before
