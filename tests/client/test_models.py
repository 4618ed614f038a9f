"""Any model of the family: its file says what a create takes, and it is asked before anything is sent."""

import json

import pytest
from PIL import Image

import kling_openapi
from kling_client import Client, PollPolicy, RequestInvalid, cli
from kling_client.contract import contract_of
from kling_client.fields import assigned, picture_path

FAMILY = kling_openapi.family()
OTHERS = [name for name in FAMILY.models if name != FAMILY.default]


@pytest.mark.parametrize("name", OTHERS)
def test_every_example_of_a_model_is_taken(name):
    """And the body of another model is not."""
    contract = contract_of(name)

    for body in FAMILY.models[name].examples:
        contract.check_create(body)
    with pytest.raises(RequestInvalid):
        contract.check_create(FAMILY.own.examples[0])


def test_an_unknown_model_is_refused_with_those_that_there_are(kit):
    """Before anything is sent."""
    with pytest.raises(RequestInvalid, match="kling-v3-image-to-video") as caught:
        Client(kit.key, kit.base, model="kling-v9")

    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("kling-v3-image-to-video", ("image_start",)),
        ("kling-v3-motion-control", ("image_urls", "[]")),
        ("kling-v3-text-to-video", None),
    ],
)
def test_a_picture_finds_its_field(model, path):
    """A field of its own, or the first of a list; a text model takes none."""
    assert picture_path(FAMILY.models[model]) == path


def test_values_have_the_type_that_the_file_wants():
    """Texts stay texts; numbers, lists and objects are read; a dot leads into an object."""
    model = FAMILY.models["kling-v3-image-to-video"]

    body = assigned(
        model,
        [
            "prompt=5",
            "duration=6",
            "sound=on",
            "model_params.multi_shot=true",
            "model_params.shot_type=intelligence",
            'model_params.element_list=[{"element_id": "7"}]',
        ],
    )

    assert body == {
        "prompt": "5",
        "duration": 6,
        "sound": "on",
        "model_params": {"multi_shot": True, "shot_type": "intelligence", "element_list": [{"element_id": "7"}]},
    }


def test_a_list_may_be_given_item_by_item():
    """The same key again adds to it."""
    model = FAMILY.models["kling-v3-motion-control"]

    assert assigned(model, ["video_urls=https://video.test/a.mp4", "video_urls=https://video.test/b.mp4"]) == {
        "video_urls": ["https://video.test/a.mp4", "https://video.test/b.mp4"]
    }


@pytest.mark.parametrize(
    "pair", ["qualitty=720p", "model_params.shots=1", "duration[]=1", "model_params=1,x", "aspect_ratio"]
)
def test_a_field_that_the_model_has_not_is_refused(pair):
    """A slip in a name would cost a wrong video."""
    model = FAMILY.models["kling-v3-image-to-video"]
    if "," in pair:
        with pytest.raises(RequestInvalid, match="as a whole"):
            assigned(model, ["model_params=1", "model_params.shot_type=x"])
        return
    with pytest.raises(RequestInvalid, match="has no such field; it has"):
        assigned(model, [pair])


@pytest.fixture
def run(kit, service, monkeypatch, capfd):
    """Runs the command against the scripted service; gives exit code and stderr."""
    with kit.serving(service) as url:
        service.on("poll", kit.answer(kit.task("completed", results=[f"{url}/a.mp4"])))
        monkeypatch.setenv("KLING_BASE_URL", url)
        monkeypatch.setenv("KLING_API_KEY", kit.key)
        monkeypatch.setenv("KLING_MIN_POLL", "0.01")

        def run(*arguments):
            code = cli.run([*arguments])
            return code, capfd.readouterr().err

        yield run


def test_the_command_takes_any_model(run, service, kit, tmp_path):
    """The body is the model's; without a picture where it needs none; resumed under the same model only."""
    code, stderr = run(
        "generate",
        "--model",
        "kling-v3-text-to-video",
        "--set",
        "prompt=A cat",
        "--set",
        "duration=4",
        "--out",
        "o.mp4",
    )

    assert code == 0, stderr
    body = json.loads(service.seen("create")[0].body)
    assert body == {"model": "kling-v3-text-to-video", "prompt": "A cat", "duration": 4}
    assert (tmp_path / "o.mp4").read_bytes() == kit.video_bytes


def test_a_local_picture_goes_where_the_model_takes_it(run, service, kit, tmp_path):
    """Checked by the limits of that field, uploaded, first of the list."""
    Image.new("RGB", (640, 640)).save(tmp_path / "frame.png")
    wishes = [
        "--set",
        "video_urls=https://video.test/1280x720-8s.mp4",
        "--set",
        "model_params.character_orientation=video",
    ]

    assert run("generate", "frame.png", "--model", "kling-v3-motion-control", *wishes)[0] == 0
    body = json.loads(service.seen("create")[0].body)
    assert body["image_urls"] == [f"{kit.files}/frame.png"]
    Image.new("RGB", (200, 200)).save(tmp_path / "small.png")
    code, stderr = run("generate", "small.png", "--model", "kling-v3-motion-control", *wishes)

    assert (code, len(service.seen("upload"))) == (4, 1)
    assert "at least 300 pixels" in stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "kling-v9"], "there is no 'kling-v9'"),
        (["--model", "kling-v3-text-to-video"], "prompt"),
        (["--model", "kling-v3-text-to-video", "--set", "prompt=a", "--set", "duration=16"], "duration"),
        (["--model", "kling-v3-text-to-video", "--set", "prompt=a", "--set", "durations=5"], "no such field"),
        (["https://x.test/a.png", "--model", "kling-v3-text-to-video", "--set", "prompt=a"], "takes no picture"),
        (["--model", "kling-v3-text-to-video", "--set", "prompt=a", "--callback-url", "https://10.0.0.1/"], "internal"),
        (["https://x.test/a.png", "--set", "qualitty=720p"], "no such field"),
    ],
)
def test_what_the_models_file_forbids_is_refused_before_anything_is_sent(run, service, arguments, words):
    """4, one line."""
    code, stderr = run("generate", *arguments)

    assert (code, stderr.count("\n")) == (4, 1), stderr
    assert words in stderr
    assert service.calls == []


def test_an_element_is_named_in_place_of_a_video(service, time, kit, tmp_path):
    """A task that makes no video has no link, and is no failure."""
    done = kit.task("completed", results=None, result_data=[{"element_id": "123"}])
    service.on("poll", kit.answer(done))
    model = "kling-custom-element"
    body = {name: value for name, value in FAMILY.models[model].examples[0].items() if name != "model"}
    told = []
    client = Client(kit.key, kit.base, transport=service.transport(), clock=time.clock, sleep=time.sleep, model=model)

    video = client.generate(None, tmp_path / "none", extra=body, on_event=told.append)

    assert (video.task.element_id, video.paths) == ("123", ())
    assert told[-1].text == "saved element 123"


def test_the_default_model_may_be_named(run, service, kit):
    """And its fields set by --set as well."""
    assert run("generate", kit.image, "--model", FAMILY.default, "--set", "duration=3")[0] == 0
    assert json.loads(service.seen("create")[0].body)["duration"] == 3


def test_a_client_of_a_model_keeps_the_pace_of_the_contract(kit):
    """What holds for all models comes from the one document."""
    client = Client(kit.key, kit.base, model="kling-v3-text-to-video")

    assert client.poll == PollPolicy().following(client.contract.polling)
