"""Servers that break rules of models (SM): they depart from the file of a model that is not the document's own."""

from typing import Any

from kling_contract.mutants.messages import Known
from kling_contract.mutants.mutant import Switch, broken
from kling_contract.mutants.switches import CREATE, READ, Task, is_, setting, shows, takes, turns

_TEXT, _IMAGE, _MOTION, _ELEMENT = (
    "kling-v3-text-to-video", "kling-v3-image-to-video", "kling-v2.6-motion-control", "kling-custom-element",
)  # fmt: skip
_FRAME = "https://image.test/1280x720.png"


def _dearer(task: Task, _: Known) -> None:
    usage = task["usage"]
    task["usage"] = {name: value * 2 if name.startswith("credits_") else value for name, value in usage.items()}


def _long_shot(body: dict[str, Any]) -> bool:
    """Whether the shots of a create are longer together than its video."""
    given = body.get("model_params")
    shots = given.get("multi_prompt") if isinstance(given, dict) else None
    texts = [str(shot.get("duration")) for shot in shots if isinstance(shot, dict)] if isinstance(shots, list) else []
    whole = bool(texts) and all(text.isdigit() for text in texts)
    return whole and sum(int(text) for text in texts) != body.get("duration", 5)


def _set_right() -> Switch:
    return takes(_long_shot, model_params={"multi_shot": False}, prompt="A cat")


MUTANTS = (
    broken("SM-01", "sound-in-any-case", "does not mind capitals in a choice of a text model",
           turns("sound", str.lower, lambda it: isinstance(it, str)), model=_TEXT, scripts=("refusals",)),
    broken("SM-01", "shots-of-any-length", "takes shots that are longer together than the video", _set_right(),
           model=_TEXT, scripts=("refusals",)),
    broken("SM-02", "no-square", "refuses one of the ratios that a text model has",
           turns("aspect_ratio", lambda _: "7:5", lambda it: it == "1:1"), model=_TEXT, scripts=("model-accepted",)),
    broken("SM-03", "gif-as-frame", "takes a GIF for the first frame of a model of the family",
           turns("image_start", lambda _: _FRAME, lambda it: "as=gif" in str(it)), model=_IMAGE, scripts=("model-media",)),
    broken("SM-03", "any-length-of-motion", "takes a video of any length for its motion",
           turns("video_urls", lambda _: ["https://video.test/1280x720-5s.mp4"], lambda it: "-31s" in str(it)),
           model=_MOTION, scripts=("model-media",)),
    broken("SM-04", "twice-the-price", "reserves and charges twice the price of a text model",
           shows(_dearer, at=(CREATE, READ)), model=_TEXT, scripts=("model-accepted",)),
    broken("SM-05", "another-length-said", "says another length than was asked for", shows(setting(task_info__video_duration=99)),
           model=_TEXT, scripts=("model-outputs",)),
    broken("SM-06", "never-upright", "makes a lying video whatever ratio is asked for",
           turns("aspect_ratio", lambda _: "16:9", lambda it: it == "9:16"), model=_TEXT, scripts=("model-outputs",)),
    broken("SM-07", "smaller-tier", "makes 720p of a text model's 1080p",
           turns("quality", lambda _: "720p", lambda it: it == "1080p"), masked_by="SM-04", model=_TEXT, scripts=("model-outputs",)),
    broken("SM-08", "a-link-for-an-element", "gives a link with an element",
           shows(setting(results=["https://files.example.com/element.mp4"]), when=is_("completed")),
           model=_ELEMENT, scripts=("model-outputs",)),
)  # fmt: skip
