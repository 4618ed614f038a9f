"""Cases of the files API: each way of uploading, what is refused, what is listed and counted, and whose it is."""

import base64
import secrets
from typing import Any

from kling_contract.driving.drivers.auth import other_account
from kling_contract.driving.drivers.run_context import RunContext, Script
from kling_contract.driving.session import Seen, Session
from kling_contract.history.labels import ImageFacts, Probe, Topic
from kling_contract.reading.uploads import file_limits

RULES = tuple(f"SF-{number:02}" for number in range(1, 15))
_PICTURES = {
    "png": "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNsYIAAJgaKGAAmCACQtTEKkQAAAABJRU5ErkJggg==",
    "gif": "R0lGODdhCAAIAIEAAICAgAAAAAAAAAAAACwAAAAACAAIAAAIDwABCBxIsKDBgwgTKkwYEAA7",
    "webp": "UklGRi4AAABXRUJQVlA4ICIAAABwAQCdASoIAAgADMDOJaACdAFAAAD+6DdKKBzttFpdoAAA",
    "jpeg": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP///////////////////////////////////////////////////////////////////////////"
        "///////////wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
    ),
}
"""Eight pixels by eight, of each type that is taken."""
_TEXT = base64.b64encode(b"This is no picture. " * 4).decode()
_BOUNDARY = "kling-contract-7cvnl5zw"
_FOLDER = "contract"


def files(context: RunContext, session: Session) -> None:
    """Uploads of one account from the first to the last that is deleted, with another account's looks in between."""
    if not context.target.files:
        for rule in RULES:
            reason = f"{context.target.base} serves no files API (GET {_path(context, 'getFileQuota')})"
            context.recorder.note(Topic.NOT_RUN, rule=rule, reason=reason)
        return
    quota = _path(context, "getFileQuota")
    session.call("GET", quota)
    session.call("GET", quota, auth=None, probe=Probe(rules=("SF-14",)))
    made = _uploads(context, session)
    _refusals(context, session)
    session.call("GET", quota)
    _lists(context, session)
    if made:
        _of_another(context, session, made[0])
        _deletions(context, session, made)


def _path(context: RunContext, name: str) -> str:
    return context.contract.named(name).template


def _whole(context: RunContext) -> str:
    """The list of files on as long a page as there is."""
    return f"{_path(context, 'listFiles')}?pageSize={file_limits(context.contract).most_rows}"


def _lists(context: RunContext, session: Session) -> None:
    listed, group = _path(context, "listFiles"), f"files-{secrets.token_hex(4)}"
    session.call("GET", _whole(context))
    for page in (1, 2):
        probe = Probe(rules=("SF-10",), group=group)
        session.call("GET", f"{listed}?page={page}&pageSize=2", probe=probe)


def _uploads(context: RunContext, session: Session) -> list[str]:
    """Each way and each type, in both spellings, and one name twice; the ids that were given, one that was replaced last."""
    name = f"contract-{secrets.token_hex(4)}"
    way = _path(context, "uploadBase64")
    seen = [
        _picture(session, way, "png", {"file_name": f"{name}-1.png", "upload_path": _FOLDER}),
        _picture(session, way, "gif", {"fileName": f"{name}-2.gif", "uploadPath": _FOLDER}),
        _picture(session, way, "webp", {"file_name": f"{name}-1.png", "upload_path": _FOLDER}),
        _by_url(context, session, f"{name}-3.jpg"),
        _form(context, session, f"{name}-4.jpg"),
    ]
    return list(dict.fromkeys(each for each in map(_id, [*seen[1:], seen[0]]) if each))


def _picture(session: Session, way: str, kind: str, more: dict[str, str]) -> Seen:
    facts = ImageFacts(width=8, height=8, size=len(base64.b64decode(_PICTURES[kind])), format=kind)
    probe = Probe(rules=("SF-01",), value=f"{kind} as base64", image=facts)
    return session.call("POST", way, {"base64_data": _PICTURES[kind], **more}, probe=probe)


def _by_url(context: RunContext, session: Session, name: str) -> Seen:
    """An upload that the server fetches."""
    label, url = context.picture(0)
    drawn = label.image if label else None
    facts = ImageFacts(format=drawn.format) if drawn else None
    probe = Probe(rules=("SF-01",), value="an upload by URL", image=facts)
    return session.call("POST", _path(context, "uploadUrl"), {"file_url": url, "fileName": name}, probe=probe)


def _form(context: RunContext, session: Session, name: str) -> Seen:
    """An upload as a form."""
    picture = base64.b64decode(_PICTURES["jpeg"])
    disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
    head = f"--{_BOUNDARY}\r\n{disposition}\r\nContent-Type: image/jpeg\r\n\r\n"
    raw = head.encode() + picture + f"\r\n--{_BOUNDARY}--\r\n".encode()
    facts = ImageFacts(width=8, height=8, size=len(picture), format="jpeg")
    probe = Probe(rules=("SF-01",), value="jpeg as a form", image=facts)
    headers = [("Content-Type", f"multipart/form-data; boundary={_BOUNDARY}")]
    return session.call("POST", _path(context, "uploadStream"), raw=raw, headers=headers, probe=probe)


def _id(seen: Seen) -> str:
    data: Any = seen.body.get("data") if isinstance(seen.body, dict) else None
    found = data.get("file_id") if isinstance(data, dict) else None
    return found if isinstance(found, str) else ""


def _refusals(context: RunContext, session: Session) -> None:
    """What is no image, and what cannot be fetched."""
    typed = Probe(rules=("SF-06", "SF-08"), value="type")
    session.call("POST", _path(context, "uploadBase64"), {"base64_data": _TEXT}, probe=typed)
    nothing = "https://image.test/8x8.png?status=404" if context.options.drawn else "https://nothing.invalid/8x8.png"
    session.call(
        "POST", _path(context, "uploadUrl"), {"file_url": nothing}, probe=Probe(rules=("SF-08",), value="download")
    )


def _of_another(context: RunContext, session: Session, made: str) -> None:
    """Another account lists files, and deletes one that is not its own."""
    other = other_account(context, session)
    if other is not None:
        probe = Probe(rules=("SF-13",))
        other.call("GET", _whole(context), probe=probe)
        other.call("DELETE", _path(context, "deleteFile").replace("{file_id}", made), probe=probe)
        session.call("GET", _whole(context), probe=probe)


def _deletions(context: RunContext, session: Session, made: list[str]) -> None:
    """One file is deleted and looked for, then all that are left."""
    for number, each in enumerate(made):
        session.call("DELETE", _path(context, "deleteFile").replace("{file_id}", each), probe=Probe(rules=("SF-11",)))
        if number == 0:
            session.call("GET", _whole(context), probe=Probe(rules=("SF-11",)))
            session.call("GET", _path(context, "getFileQuota"), probe=Probe(rules=("SF-09",)))


SCRIPTS = (Script("files", RULES, files, creates=False),)
