"""What a client finds around it: little of its user's environment, the lab's addresses, and no way out."""

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path

from kling_contract.lab.results import RunRequest

_KEPT = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH", "NODE_PATH", "NODE_OPTIONS", "VIRTUAL_ENV",
    "JAVA_HOME", "GEM_HOME", "DOTNET_ROOT", "SYSTEMROOT",
)  # fmt: skip
"""Variables of the user's that a program may need to start. No key, no proxy, no address is among them."""
_LOOPBACK = "localhost,127.0.0.1,::1"


def environment(wanted: RunRequest, *, control_url: str, proxy: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of one client.

    proxy: host and port of a proxy that forwards nothing. variables: what leads a client with built-in hosts to the fake;
    they replace that proxy. The home folder is the case's own, so that no two cases share a state file.
    """
    found, asked = bare(wanted.folder), wanted.request
    found |= {
        "KLING_BASE_URL": wanted.base_url, "KLING_API_KEY": wanted.api_key, "KLING_CONTROL_URL": control_url,
        "KLING_OUT": str(wanted.out), "KLING_CASE": wanted.case, "KLING_IMAGE": wanted.image,
        "KLING_CALLBACK_PORT": str(wanted.callback_port), "KLING_CALLBACK_URL": wanted.callback_url,
        "KLING_DEADLINE": f"{wanted.deadline:g}", "KLING_MIN_POLL": f"{wanted.min_poll:g}",
        "EVOLINK_BASE_URL": wanted.base_url, "EVOLINK_API_KEY": wanted.api_key,
    }  # fmt: skip
    if wanted.model:
        found["KLING_MODEL"] = wanted.model
    for member in ("prompt", "quality", "duration"):
        if member in asked:
            found[f"KLING_{member.upper()}"] = str(asked[member])
    closed = _closed(proxy, variables)
    addresses = _ADDRESSES if wanted.base_url not in closed.get("KLING_BASE_URL", "") else ()
    return {**found, **{name: value for name, value in closed.items() if name not in addresses}}


def lasting(folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that is there for all cases, and is given what belongs to each."""
    closed = _closed(_NOWHERE, variables)
    return {**bare(folder), **{name: value for name, value in closed.items() if name not in _ADDRESSES}}


def _closed(proxy: str, variables: Mapping[str, str]) -> dict[str, str]:
    """What keeps a client in: the fence, and in its place what leads one with built-in hosts to the fake."""
    return {name: value for name, value in {**_fenced(proxy), **variables}.items() if name not in _OWN}


def bare(folder: Path) -> dict[str, str]:
    """What is left of the user's environment, with *folder* as home."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "HOME": str(folder), "TMPDIR": str(folder.parent)}


_ADDRESSES = ("KLING_BASE_URL", "EVOLINK_BASE_URL")
_NOWHERE = "127.0.0.1:1"
"""An address where no proxy listens."""
_OWN = ("KLING_API_KEY", "EVOLINK_API_KEY", "KLING_CONTROL_URL", "PATH", "HOME", "TMPDIR")


def _fenced(proxy: str) -> dict[str, str]:
    """Proxy variables for those who read them, and the fake's preloads for Node and Python, who may not."""
    names = ("https_proxy", "http_proxy", "all_proxy")
    found = {name: f"http://{proxy}" for lower in names for name in (lower, lower.upper())}
    found |= {"no_proxy": _LOOPBACK, "NO_PROXY": _LOOPBACK}
    preload = _preload()
    if preload is None:
        return found
    node = str(preload / "node.cjs").replace("\\", "\\\\").replace('"', '\\"')
    python = [str(preload / "python"), os.environ.get("PYTHONPATH", "")]
    return found | {
        "KLING_MOCK_ROUTES": json.dumps({"hosts": [], "fake": "127.0.0.1:1", "proxy": proxy}),
        "NODE_OPTIONS": f'{os.environ.get("NODE_OPTIONS", "")} --require "{node}"'.strip(),
        "PYTHONPATH": os.pathsep.join(entry for entry in python if entry),
    }


def _preload() -> Path | None:
    """The folder of the fake's preloads, found without importing the fake; None where they are not installed."""
    spec = importlib.util.find_spec("kling_mock")
    places = list(spec.submodule_search_locations or ()) if spec else []
    folder = Path(places[0]) / "serving" / "preload" if places else None
    return folder if folder is not None and folder.is_dir() else None
