"""The kit's own libraries, which serving the fake does not need: asked for before anything is sent."""

import importlib.util

from kling_contract.rules.verdicts import SetupError

_LIBRARIES = ("hypothesis", "schemathesis")


def require_kit(what: str) -> None:
    """Make sure that the kit's libraries are installed.

    Raises:
        SetupError: they are not; the message says how to install them.
    """
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(
            f"{what} needs {' and '.join(missing)}, which the extra `kit` brings: "
            "pip install 'klingkit[kit]', from the repository or a wheel"
        )
