"""Servers that break rules of uploaded files (SF)."""

import base64
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import parse_qsl, urlencode

import orjson

from kling_contract.mutants.messages import Memory, Request, Response
from kling_contract.mutants.mutant import Switch, broken
from kling_contract.mutants.switches import answers, asks, merged, ok, to
from kling_contract.reading.uploads import SPELLINGS, UPLOADS

_GIF = base64.b64decode("R0lGODdhCAAIAIEAAICAgAAAAAAAAAAAACwAAAAACAAIAAAIDwABCBxIsKDBgwgTKkwYEAA7")
_broken = partial(broken, scripts=("files",))
_LISTED = orjson.dumps({"success": True, "code": 200, "msg": "ok"})


def _uploaded(ask: Request, answer: Response) -> bool:
    return ask.name in UPLOADS and answer.accepted


def _says(**members: object) -> Switch:
    """Answers of uploads with other members of `data`."""
    named = {f"data.{name}": value for name, value in members.items()}
    return answers(_uploaded, lambda answer: answer.becomes(merged(answer.json, named)))


def _refuses(when: str) -> Switch:
    body = orjson.dumps({"success": False, "code": 400, "msg": "not taken"})
    return Switch(on_request=lambda ask, _: Response(400, body=body) if ask.name == when else ask)


def _larger(answer: Response) -> Response:
    data = answer.json["data"]
    return answer.becomes({**answer.json, "data": {**data, "file_size": data["file_size"] * 4 // 3}})


def _one_spelling(ask: Request) -> Request:
    return ask.becomes({name: value for name, value in ask.sent.items() if name not in SPELLINGS.values()})


def _numbered(ask: Request, memory: Memory) -> Request | Response:
    """Every name but the first gets a number, so that nothing is replaced."""
    name = ask.sent.get("file_name") if ask.name in UPLOADS else None
    if not isinstance(name, str):
        return ask
    stem, point, suffix = name.rpartition(".")
    number = memory.count(memory.account(ask.key), "names")
    return ask.becomes({**ask.sent, "file_name": f"{stem}-{number}{point}{suffix}"})


def _no_picture(ask: Request) -> bool:
    return ask.name == "uploadBase64" and base64.b64decode(ask.sent.get("base64_data", "")).startswith(b"This")


def _picture(ask: Request) -> str:
    """A picture of as many bytes."""
    return base64.b64encode(_GIF.ljust(len(base64.b64decode(ask.sent["base64_data"])), b"\0")).decode()


def _failed(ask: Request, answer: Response) -> bool:
    return ask.path.startswith("/api/v1/files/") and answer.status >= 400


def _in_the_other_form(answer: Response) -> Response:
    return answer.becomes({"error": {"code": "invalid_request", "message": answer.json["msg"], "type": "api_error"}})


def _any_page(ask: Request) -> Request:
    kept = [pair for pair in parse_qsl(ask.target.partition("?")[2]) if pair[0] != "pageSize"]
    return replace(ask, target=f"{ask.path}?{urlencode(kept)}")


def _same_page(ask: Request) -> Request:
    return replace(ask, target=ask.target.replace("page=2&", "page=1&"))


def _for_a_day(answer: Response) -> Response:
    born = datetime.fromisoformat(answer.json["data"]["upload_time"])
    return answer.becomes(merged(answer.json, {"data.expires_at": (born + timedelta(days=1)).isoformat()}))


def _shared(ask: Request, memory: Memory) -> Request | Response:
    """Whoever asks gets what the first who asked has."""
    if not ask.path.startswith("/api/v1/files/") or not ask.key:
        return ask
    with memory.lock:
        first = memory.account("files").kept.setdefault("first", ask.key)
    return ask.keyed(str(first))


def _open(ask: Request, memory: Memory) -> Request | Response:
    """A quota is shown without a key: that of who asked last."""
    if ask.name != "getFileQuota":
        return ask
    if ask.key:
        memory.account("files").kept["last"] = ask.key
        return ask
    return ask.keyed(str(memory.account("files").kept.get("last", "sk-nobody")))


MUTANTS = (
    _broken("SF-01", "no-forms", "takes no uploads as a form", _refuses("uploadStream")),
    _broken("SF-01", "uploads-201", "answers uploads with 201",
           answers(_uploaded, lambda answer: replace(answer, status=201))),
    _broken("SF-02", "folder-unsaid", "does not say upload_path",
           answers(_uploaded, lambda answer: answer.becomes({**answer.json, "data": {
               name: value for name, value in answer.json["data"].items() if name != "upload_path"}}))),
    _broken("SF-03", "size-of-the-base64", "says the size of the base64, not of the file", answers(_uploaded, _larger)),
    _broken("SF-03", "always-octets", "says of every file that it is octets", _says(mime_type="application/octet-stream")),
    _broken("SF-04", "one-spelling", "ignores fileName and uploadPath", asks(lambda ask: ask.name in UPLOADS[:2], _one_spelling)),
    _broken("SF-05", "numbered-copies", "keeps both files of one name", Switch(on_request=_numbered)),
    _broken("SF-06", "any-type", "takes a text for a picture",
           asks(_no_picture, lambda ask: ask.becomes({**ask.sent, "base64_data": _picture(ask)}))),
    _broken("SF-07", "one-form-of-errors", "has errors of the files API in the form of the others",
           answers(_failed, _in_the_other_form)),
    _broken("SF-08", "plain-400", "refuses uploads with the code 400 whatever the reason",
           answers(_failed, lambda answer: answer.becomes({**answer.json, "code": answer.status}))),
    _broken("SF-09", "quota-unused", "says that all files remain",
           answers(ok("getFileQuota"), lambda answer: answer.becomes(merged(answer.json, {"data.remain_files": 100})))),
    _broken("SF-09", "quota-stands-still", "counts no files",
           answers(ok("getFileQuota"),
                   lambda answer: answer.becomes(merged(answer.json, {"data.remain_files": 100, "data.used_files": 0})))),
    _broken("SF-10", "file-pages-of-any-size", "gives pages of files of its own size", asks(to("listFiles"), _any_page)),
    _broken("SF-10", "one-page-of-files", "gives the first page of files for the second", asks(to("listFiles"), _same_page)),
    _broken("SF-11", "deleted-is-listed", "answers a deletion and keeps the file",
           Switch(on_request=lambda ask, _: Response(200, body=_LISTED) if ask.name == "deleteFile" else ask), masked_by="SF-09"),
    _broken("SF-12", "a-day-long", "keeps files for a day", answers(_uploaded, _for_a_day)),
    _broken("SF-13", "files-shared", "has one place for everybody's files", Switch(on_request=_shared)),
    _broken("SF-14", "quota-without-a-key", "tells a quota to who has no key", Switch(on_request=_open)),
)  # fmt: skip
