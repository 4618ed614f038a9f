"""Profiles: named sets of choices as files, shipped and of one's own, with errors that say where."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kling_mock.config import BadSetting, ServiceSettings, profiles
from kling_mock.contract import Contract


@pytest.fixture(scope="module")
def contract() -> Contract:
    """The contract as shipped."""
    return Contract()


def test_every_shipped_profile_fits_the_contract(contract: Contract) -> None:
    """`current` changes nothing; each of the others changes something."""
    assert {"current", "legacy"} <= set(profiles())
    defaults = {name: entry["schema"]["default"] for name, entry in contract.assumptions.items()}
    for name in profiles():
        chosen = ServiceSettings(contract, name)
        differing = [choice for choice in defaults if getattr(chosen, choice) != defaults[choice]]
        assert bool(differing) == (name != "current"), name


def test_legacy_is_the_older_dialect(contract: Contract) -> None:
    """It says so, and a single choice on top of it wins."""
    assert ServiceSettings(contract, "legacy").error_codes == "legacy"
    assert ServiceSettings(contract, "legacy", {"error_codes": "current"}).error_codes == "current"


def test_observed_is_what_was_seen(contract: Contract, make: Callable[..., Any]) -> None:
    """A completed body has less than the manual shows, and the seconds that the task took; all of it is still the contract's."""
    rig = make(profile="observed")
    task_id = rig.task("completed queued=2 runs=8")
    rig.advance(20)
    body = rig.shown(task_id)
    assert body["usage"] == {"cost": {"credits": 36, "usd": round(36 / 68, 6), "cny": 3.6}, "credits_used": 36}
    assert (body["task_info"], body["duration"]) == ({"can_cancel": False}, 10)
    assert contract.shape({"$ref": "#/components/schemas/CompletedTask"}).fits(body)


def test_a_file_is_a_profile(contract: Contract, tmp_path: Path) -> None:
    """Any YAML mapping of choices; what it leaves out stays as it is."""
    file = tmp_path / "mine.yaml"
    file.write_text("foreign_task: forbidden\n")
    chosen = ServiceSettings(contract, str(file))
    assert (chosen.foreign_task, chosen.error_codes) == ("forbidden", "current")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("error_codes: modern", "error_codes"),
        ("no_such_choice: 1", "no_such_choice: there is no such setting"),
        ("- a list", "a profile is a mapping"),
        ("1: 2", "a profile is a mapping"),
        ("", "a profile is a mapping"),
        ("a: [", "not YAML"),
        ("\x00", "not YAML"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(content: str, complaint: str, contract: Contract, tmp_path: Path) -> None:
    """The message begins with the option and the file, and fits on a line."""
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(BadSetting, match=complaint) as caught:
        ServiceSettings(contract, str(file))
    assert str(caught.value).startswith(f"--profile {file}: ")
    assert "\n" not in str(caught.value)


def test_an_unknown_profile_lists_the_known(contract: Contract, tmp_path: Path) -> None:
    """A name that is neither a profile nor a file."""
    with pytest.raises(BadSetting, match=r"neither a profile \(current, legacy, observed\) nor a readable file"):
        ServiceSettings(contract, str(tmp_path / "nowhere.yaml"))
