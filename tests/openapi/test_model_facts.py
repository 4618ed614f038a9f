"""The model files against a table that was typed by hand from the collected pages, and not from the files."""

from typing import Any

import pytest

import kling_openapi
from kling_openapi.media import Facts, Limits, ratio

MB = 1024 * 1024
WIDE = {"ratio_min": ratio("1:2.5"), "ratio_max": ratio("2.5:1")}
KIMG = Limits("image", ("jpeg", "png"), (".jpg", ".jpeg", ".png"), 10 * MB, min_side_px=300, **WIDE)
O1_IMAGE = Limits("image", ("jpeg", "png", "webp"), (".jpg", ".jpeg", ".png", ".webp"), 10 * MB)
MOTION = Limits("video", ("mp4", "mov"), (), 100 * MB, min_seconds=3, max_seconds=30, min_side_px=340, max_side_px=3850)
O3_VIDEO = Limits(
    "video", ("mp4", "mov"), (), 200 * MB, min_seconds=3, min_side_px=720, max_side_px=2160, fps_min=24, fps_max=60
)
O1_VIDEO = Limits("video", ("mp4", "mov"), (), 100 * MB)
SEEDANCE_IMAGE = Limits(
    "image", O1_IMAGE.formats, O1_IMAGE.suffixes, 10 * MB, min_side_px=300, max_side_px=6000, **WIDE
)
WAN_IMAGE = Limits(
    "image",
    ("jpeg", "png", "bmp", "webp"),
    (".jpg", ".jpeg", ".png", ".bmp", ".webp"),
    20 * MB,
    min_side_px=240,
    max_side_px=8000,
    ratio_min=ratio("1:8"),
    ratio_max=ratio("8:1"),
)

Q2, Q3 = ["720p", "1080p"], ["720p", "1080p", "4k"]
AR3 = ["16:9", "9:16", "1:1"]
SECONDS = {"type": "integer", "minimum": 3, "maximum": 15, "default": 5}
ON_OFF = {"type": "string", "enum": ["on", "off"], "default": "off"}
TEXT = {"type": "string", "maxLength": 2500}
LONG = {"type": "string", "maxLength": 5000}
BOTH = {"enum": ["customize", "intelligence"]}
ONE = {"enum": ["customize"]}


def tiers(names: list[str]) -> dict[str, Any]:
    """A quality field: these tiers, the first... 720p by default."""
    return {"type": "string", "oneOf": names, "default": "720p"}


def shots(kinds: dict[str, Any], elements: int | None) -> dict[str, Any]:
    """The fields of several shots, and of elements where a model takes them."""
    found: dict[str, Any] = {
        "model_params": {"type": "object"},
        "model_params.multi_shot": {"type": "boolean", "default": False},
        "model_params.shot_type": kinds,
        "model_params.multi_prompt": {"type": "array", "minItems": 1, "maxItems": 6},
        "model_params.multi_prompt[].index": {"type": "integer", "minimum": 1},
        "model_params.multi_prompt[].prompt": {"type": "string", "maxLength": 512},
        "model_params.multi_prompt[].duration": {"type": "string"},
        "model_params.watermark_info.enabled": {"type": "boolean"},
    }
    if elements is not None:
        found["model_params.element_list"] = {"type": "array", **({"maxItems": elements} if elements else {})}
        found["model_params.element_list[].element_id"] = {"type": "string"}
    return found


# Model: what is required, the fields with their limits, the media with theirs.
TABLE: dict[str, tuple[set[str], dict[str, dict[str, Any]], dict[str, Limits]]] = {
    "kling-v3-turbo-image-to-video": (
        {"image_start"},
        {"prompt": TEXT, "quality": tiers(Q2), "duration": SECONDS},
        {"image_start": Limits("image", KIMG.formats, KIMG.suffixes, 50 * MB, min_side_px=300, **WIDE)},
    ),
    "kling-v3-turbo-text-to-video": (
        {"prompt"},
        {"prompt": TEXT, "quality": tiers(Q2), "aspect_ratio": {"enum": AR3, "default": "16:9"}, "duration": SECONDS},
        {},
    ),
    "kling-v3-image-to-video": (
        {"image_start"},
        {
            "prompt": TEXT,
            "negative_prompt": {"type": "string"},
            "duration": SECONDS,
            "quality": tiers(Q3),
            "sound": ON_OFF,
            **shots(BOTH, 3),
        },
        {"image_start": KIMG, "image_end": KIMG},
    ),
    "kling-v3-text-to-video": (
        set(),
        {
            "prompt": TEXT,
            "negative_prompt": {"type": "string"},
            "duration": SECONDS,
            "aspect_ratio": {"enum": AR3},
            "quality": tiers(Q3),
            "sound": ON_OFF,
            **shots(BOTH, None),
        },
        {},
    ),
    "kling-v3-motion-control": (
        {"image_urls", "video_urls", "model_params", "model_params.character_orientation"},
        {
            "image_urls": {"minItems": 1, "maxItems": 1},
            "video_urls": {"minItems": 1, "maxItems": 1},
            "prompt": TEXT,
            "quality": tiers(Q2),
            "model_params.character_orientation": {"enum": ["image", "video"]},
            "model_params.element_list": {"maxItems": 1},
            "model_params.keep_sound": {"type": "boolean", "default": True},
            "model_params.watermark_info.enabled": {"type": "boolean"},
        },
        {"image_urls[]": KIMG, "video_urls[]": MOTION},
    ),
    "kling-v2.6-motion-control": (
        {"image_urls", "video_urls", "model_params", "model_params.character_orientation"},
        {
            "image_urls": {"minItems": 1, "maxItems": 1},
            "video_urls": {"minItems": 1, "maxItems": 1},
            "prompt": TEXT,
            "quality": tiers(Q2),
            "model_params.character_orientation": {"enum": ["image", "video"]},
            "model_params.keep_sound": {"type": "boolean", "default": True},
            "model_params.watermark_info.enabled": {"type": "boolean"},
        },
        {"image_urls[]": KIMG, "video_urls[]": MOTION},
    ),
    "kling-o3-text-to-video": (
        set(),
        {
            "prompt": TEXT,
            "duration": SECONDS,
            "aspect_ratio": {"enum": AR3, "default": "16:9"},
            "quality": tiers(Q3),
            "sound": ON_OFF,
            **shots(ONE, 7),
        },
        {},
    ),
    "kling-o3-image-to-video": (
        set(),
        {
            "prompt": TEXT,
            "image_urls": {"type": "array"},
            "duration": SECONDS,
            "sound": ON_OFF,
            "aspect_ratio": {"enum": AR3},
            "quality": tiers(Q3),
            **shots(ONE, 0),
        },
        {"image_start": KIMG, "image_end": KIMG, "image_urls[]": KIMG},
    ),
    "kling-o3-reference-to-video": (
        {"prompt"},
        {
            "prompt": TEXT,
            "keep_original_sound": {"type": "boolean", "default": True},
            "image_urls": {"type": "array"},
            "duration": {"type": "integer", "minimum": 3, "maximum": 10, "default": 5},
            "aspect_ratio": {"enum": AR3},
            "quality": tiers(Q2),
            "model_params.element_list": {"type": "array"},
            "model_params.watermark_info.enabled": {"type": "boolean"},
        },
        {"video_url": O3_VIDEO, "image_urls[]": KIMG},
    ),
    "kling-o3-video-edit": (
        set(),
        {
            "prompt": TEXT,
            "keep_original_sound": {"type": "boolean", "default": True},
            "image_urls": {"type": "array"},
            "quality": tiers(Q2),
            "model_params.element_list": {"type": "array"},
            "model_params.watermark_info.enabled": {"type": "boolean"},
        },
        {"video_url": O3_VIDEO, "image_urls[]": KIMG},
    ),
    "kling-o1-image-to-video": (
        {"prompt", "image_urls"},
        {
            "prompt": LONG,
            "image_urls": {"minItems": 1, "maxItems": 2},
            "aspect_ratio": {"enum": AR3},
            "duration": {"enum": [5, 10], "default": 5},
        },
        {"image_urls[]": O1_IMAGE},
    ),
    **{
        name: (
            {"prompt", "video_urls"},
            {
                "prompt": LONG,
                "video_urls": {"minItems": 1, "maxItems": 1},
                "image_urls": {"minItems": 1, "maxItems": 4},
                "keep_original_sound": {"type": "boolean"},
            },
            {"video_urls[]": O1_VIDEO, "image_urls[]": O1_IMAGE},
        )
        for name in ("kling-o1-video-edit", "kling-o1-video-edit-fast")
    },
    "kling-custom-element": (
        {
            "model_params",
            "model_params.element_name",
            "model_params.element_description",
            "model_params.reference_type",
        },
        {
            "model_params.element_name": {"maxLength": 20},
            "model_params.element_description": {"maxLength": 100},
            "model_params.reference_type": {"enum": ["image_refer", "video_refer"]},
            "model_params.element_image_list.refer_images": {"minItems": 1, "maxItems": 3},
            "model_params.element_video_list.refer_videos": {"minItems": 1, "maxItems": 1},
            "model_params.element_voice_id": {"type": "string"},
        },
        {
            "model_params.element_image_list.frontal_image": KIMG,
            "model_params.element_image_list.refer_images[].image_url": KIMG,
            "model_params.element_video_list.refer_videos[].video_url": Limits(
                "video", ("mp4", "mov"), (), 100 * MB, max_seconds=8, min_width_px=720, max_width_px=2160
            ),
        },
    ),
    "seedance-1.5-pro": (
        {"prompt"},
        {
            "prompt": {"maxLength": 2000},
            "image_urls": {"type": "array", "maxItems": 2},
            "duration": {"type": "integer", "minimum": 4, "maximum": 12, "default": 5},
            "quality": tiers(["480p", "720p", "1080p"]),
            "aspect_ratio": {"enum": [*AR3, "4:3", "3:4", "21:9", "adaptive"], "default": "16:9"},
            "generate_audio": {"type": "boolean", "default": True},
        },
        {"image_urls[]": SEEDANCE_IMAGE},
    ),
    "wan2.7-image-to-video": (
        set(),
        {
            "generation_mode": {"enum": ["first_frame", "first_last_frame", "video_continuation"]},
            "quality": tiers(Q2),
            "duration": {"type": "number", "minimum": 2, "maximum": 15, "default": 5},
            "seed": {"type": "integer", "minimum": 1, "maximum": 2147483647},
            "prompt_extend": {"type": "boolean", "default": False},
            "audio_urls": {"minItems": 1, "maxItems": 1},
        },
        {
            "image_start": WAN_IMAGE,
            "image_end": WAN_IMAGE,
            "video_urls[]": Limits("video", ("mp4", "mov"), (), 100 * MB, min_seconds=2, max_seconds=30),
            "audio_urls[]": Limits("audio", ("wav", "mp3"), (), 15 * MB, min_seconds=2, max_seconds=30),
        },
    ),
}

FAMILY = kling_openapi.family()
NAMES = pytest.mark.parametrize("name", TABLE)


def at(name: str, path: str) -> dict[str, Any]:
    """What the model file says of a field, its tiers by their names."""
    found = FAMILY.models[name].at(path)
    return {**found, **({"oneOf": [it["const"] for it in found["oneOf"]]} if "oneOf" in found else {})}


def test_the_family_is_complete() -> None:
    """The fourteen models of Kling and the two of another kind, the document's own first."""
    assert set(FAMILY.models) == set(TABLE)
    assert len([name for name in TABLE if name.startswith("kling-")]) == 14
    assert next(iter(FAMILY.models)) == "kling-v3-turbo-image-to-video"


@NAMES
def test_what_is_required(name: str) -> None:
    """Every required field, the nested ones included, and no other."""
    required, _, _ = TABLE[name]
    found = set(FAMILY.models[name].schema["required"]) - {"model"}
    nested = {f"model_params.{it}" for it in at(name, "model_params").get("required", ())}

    assert found | nested == required


@NAMES
def test_the_fields_and_their_limits(name: str) -> None:
    """Each field of the table has just the limits of the table, and no default but that of the table."""
    for path, limits in TABLE[name][1].items():
        found = at(name, path)
        assert {key: found.get(key) for key in limits} == limits, path
        bounds = {"minimum", "maximum", "maxLength", "minItems", "maxItems", "default", "enum"} & set(found)
        assert bounds <= set(limits), path


@NAMES
def test_no_field_is_missing_or_made_up(name: str) -> None:
    """The top-level fields are those of the table, model and callback_url beside them."""
    _, fields, media = TABLE[name]
    told = {path.partition(".")[0].partition("[")[0] for path in (*fields, *media)}
    free = {"wan2.7-image-to-video": {"prompt", "negative_prompt"}}.get(name, set())  # cut short, so without a limit

    assert FAMILY.models[name].taken == told | free | {"model", "callback_url"}


@NAMES
def test_the_media_and_their_limits(name: str) -> None:
    """Each slot for a picture, a video or a sound stands where the page says, with its limits."""
    media = {
        path: Limits(it.kind, it.formats, (), *_rest(it)) if it.kind != "image" else it
        for path, it in TABLE[name][2].items()
    }
    found = {
        "".join(f".{step}" if step != "[]" else step for step in path)[1:]: limits
        for path, limits in FAMILY.models[name].slots.limits.items()
    }

    assert found == media


def _rest(limits: Limits) -> tuple[Any, ...]:
    return tuple(getattr(limits, name) for name in list(Limits.__dataclass_fields__)[3:])


def video(seconds: float) -> dict[tuple[str, ...], Facts]:
    """An input video of that length, wherever it stands."""
    facts = Facts("mp4", 1000, 1280, 720, seconds, 30)
    return {("video_urls", "[]"): facts, ("video_url",): facts}


IMAGE = "https://image.test/1280x720.png"
VIDEO = "https://video.test/1280x720-8s.mp4"
MOVED = {"image_urls": [IMAGE], "video_urls": [VIDEO], "model_params": {"character_orientation": "video"}}
EDITED = {"prompt": "x", "video_urls": [VIDEO]}
ELEMENT = {
    "element_name": "Ada",
    "element_description": "x",
    "reference_type": "video_refer",
    "element_video_list": {"refer_videos": [{"video_url": VIDEO}]},
}


@pytest.mark.parametrize(
    ("name", "body", "seconds", "credits"),
    [
        ("kling-v3-turbo-image-to-video", {"image_start": IMAGE}, 0, 36),
        ("kling-v3-turbo-image-to-video", {"image_start": IMAGE, "quality": "1080p", "duration": 15}, 0, 135),
        ("kling-v3-turbo-image-to-video", {"image_start": IMAGE, "duration": 3}, 0, 21.6),
        ("kling-v3-turbo-text-to-video", {"prompt": "x", "quality": "1080p"}, 0, 45),
        ("kling-v3-image-to-video", {"image_start": IMAGE}, 0, 27),
        ("kling-v3-image-to-video", {"image_start": IMAGE, "quality": "1080p"}, 0, 36.018),
        ("kling-v3-image-to-video", {"image_start": IMAGE, "quality": "4k"}, 0, 135),
        ("kling-v3-image-to-video", {"image_start": IMAGE, "sound": "on"}, 0, 40.5),
        ("kling-v3-text-to-video", {"prompt": "x", "sound": "on", "quality": "1080p"}, 0, 54),
        ("kling-v3-text-to-video", {"prompt": "x", "sound": "on", "quality": "4k", "duration": 3}, 0, 81),
        ("kling-v3-text-to-video", {"prompt": "x", "duration": 3}, 0, 16.2),
        ("kling-o3-text-to-video", {"prompt": "x", "sound": "on"}, 0, 36.018),
        ("kling-o3-text-to-video", {"prompt": "x", "sound": "on", "quality": "1080p"}, 0, 45.009),
        ("kling-o3-image-to-video", {"prompt": "x", "quality": "4k"}, 0, 135),
        ("kling-v3-motion-control", MOVED, 8.4, 65.3184),
        ("kling-v3-motion-control", MOVED, 8.5, 73.4832),
        ("kling-v3-motion-control", MOVED, 3, 24.4944),
        ("kling-v3-motion-control", MOVED, 0, 81.648),
        ("kling-v3-motion-control", {**MOVED, "quality": "1080p"}, 5, 54.4592),
        ("kling-v2.6-motion-control", MOVED, 5, 22.5),
        ("kling-v2.6-motion-control", {**MOVED, "quality": "1080p"}, 3, 21.6),
        ("kling-o3-reference-to-video", {"prompt": "x"}, 0, 40.5),
        ("kling-o3-reference-to-video", {"prompt": "x", "quality": "1080p", "duration": 3}, 0, 32.4162),
        ("kling-o3-video-edit", {"video_url": VIDEO}, 5.2, 48.6),
        ("kling-o3-video-edit", {"video_url": VIDEO}, 0, 40.5),
        ("kling-o3-video-edit", {"video_url": VIDEO}, 3, 24.3),
        ("kling-o1-image-to-video", {"prompt": "x", "image_urls": [IMAGE]}, 0, 40),
        ("kling-o1-image-to-video", {"prompt": "x", "image_urls": [IMAGE], "duration": 10}, 0, 80),
        ("kling-o1-video-edit", EDITED, 7, 84),
        ("kling-o1-video-edit", EDITED, 2, 36),
        ("kling-o1-video-edit", EDITED, 12, 120),
        ("kling-o1-video-edit-fast", EDITED, 7, 47.6),
        ("kling-o1-video-edit-fast", EDITED, 3, 40.8),
        ("kling-o1-video-edit-fast", EDITED, 30, 136),
        ("kling-custom-element", {"model_params": ELEMENT}, 0, 0.001),
        ("seedance-1.5-pro", {"prompt": "x"}, 0, 8),
    ],
)
def test_what_is_reserved(name: str, body: dict[str, Any], seconds: float, credits: float) -> None:
    """Rate, factor, minimum and rounding, worked out by hand; without seconds the input is not known."""
    model = FAMILY.models[name]
    whole = {"model": name, **body}
    assert model.problems(whole) == []

    assert model.quote(whole, video(seconds) if seconds else None).reserved == credits


def test_an_edit_is_settled_on_its_output() -> None:
    """Each second begun is reserved, and whole seconds are charged."""
    quote = FAMILY.models["kling-o3-video-edit"].quote({"model": "kling-o3-video-edit", "video_url": VIDEO}, video(5.2))

    assert (quote.seconds, quote.reserved, quote.charged) == (5, 48.6, 40.5)
