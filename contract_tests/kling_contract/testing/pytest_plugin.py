"""The kit under pytest: `pytest --pyargs kling_contract --kling-target URL --kling-api-key KEY`, a test for each rule.

The fixtures give your own tests the same history: put `def test_mine(kling_view): ...` into a file of yours and name it
next to `--pyargs kling_contract`. Nothing is driven until a fixture is asked for.
"""

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kling_contract.history.events import AnyEvent
    from kling_contract.reading.view import View
    from kling_contract.rules.verdicts import Run, Verdict

_OPTIONS = (
    ("--kling-target", "URL of the server to judge."),
    ("--kling-api-key", "The account that the run uses."),
    ("--kling-second-key", "Another account, to see that the two are apart."),
    ("--kling-mode", "fake, readonly, refusals or paid; as `kling-contract server --mode`."),
    ("--kling-max-usd", "Most dollars that a run may cost; refusals and paid need it."),
    ("--kling-plan-hash", "The plan that you agree to, as `kling-contract server --plan` prints it; paid needs it."),
    ("--kling-seed", "Seed of everything that is drawn."),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the kit, each with the variable that its command has."""
    group = parser.getgroup("kling-contract", "judging a server by its contract")
    for name, text in _OPTIONS:
        group.addoption(name, default=None, help=text)
    group.addoption("--kling-full", action="store_true", help="Run the drivers that draw their calls as well.")


def _given(config: pytest.Config, name: str) -> str:
    variable = "KLING_CONTRACT_" + name.removeprefix("--kling-").upper().replace("-", "_")
    return str(config.getoption(name) or os.environ.get(variable, ""))


@pytest.fixture(scope="session")
def kling_run(request: pytest.FixtureRequest) -> "Run":
    """The judged run against --kling-target; skips where there is none."""
    config = request.config
    url = _given(config, "--kling-target")
    if not url:
        pytest.skip("no server to judge: give --kling-target")
    from kling_contract.driving.drivers import real
    from kling_contract.driving.drivers.run_context import QUICK, Options
    from kling_contract.driving.drivers.running import Money, Wanted, for_servers, make_history
    from kling_contract.driving.target import Asked
    from kling_contract.judging import again, judge_history
    from kling_contract.rules.verdicts import Choice, SetupError

    mode, cap, seed, agreed = (_given(config, f"--kling-{name}") for name in ("mode", "max-usd", "seed", "plan-hash"))
    live = mode in ("readonly", "refusals", "paid")
    options = Options(
        seed=int(seed or 0),
        quick=not config.getoption("--kling-full"),
        poll=real.POLL if live else Options().poll,
        patience=real.PATIENCE if live else QUICK,
    )
    key, second = _given(config, "--kling-api-key"), _given(config, "--kling-second-key")
    asked = Asked(url=url, key=key, second_key=second, mode=mode or None)
    choice = for_servers(Choice())
    try:
        made = make_history(Wanted(asked, options, Money(float(cap) if cap else None), agreed=agreed), choice)
        return judge_history(made.recorder.events, choice, again("server", [url]))
    except SetupError as error:
        pytest.exit(f"kling-contract: {error}", returncode=2)


@pytest.fixture(scope="session")
def kling_history(kling_run: "Run") -> "tuple[AnyEvent, ...]":
    """Every event of the run."""
    return kling_run.events


@pytest.fixture(scope="session")
def kling_view(kling_run: "Run") -> "View":
    """The history as judges see it: calls, tasks, callbacks, downloads."""
    from kling_contract.reading.contract import shipped
    from kling_contract.reading.view import View

    return View(kling_run.events, shipped())


@pytest.fixture
def kling_verdict(kling_run: "Run", kling_rule: str) -> "Verdict":
    """The verdict of the rule that the test is about."""
    return next(verdict for verdict in kling_run.verdicts if verdict.rule.id == kling_rule)


def pytest_generate_tests(metafunc: Any) -> None:
    """A test for each rule that judges a server."""
    if "kling_rule" in metafunc.fixturenames:
        from kling_contract.reading.contract import shipped
        from kling_contract.rules.rulebook import rules

        names = [rule.id for rule in rules(shipped()).values() if not rule.for_clients]
        metafunc.parametrize("kling_rule", names)
