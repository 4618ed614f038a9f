"""A recording proxy as the user asked for it: where the service is, and how much it may cost."""

from kling_common.authority import Authority
from kling_contract.driving.control import Control
from kling_contract.driving.drivers.running import Money, guard_for
from kling_contract.driving.guard import Guard
from kling_contract.driving.guarded import GuardedSender
from kling_contract.driving.pricing import Price
from kling_contract.driving.sender import Sender
from kling_contract.driving.target import choose_mode, origin_of, services_of
from kling_contract.history.events import Recorder
from kling_contract.history.labels import Topic
from kling_contract.reading.contract import Contract
from kling_contract.recording.proxy import RecordingProxy, Upstream, hosts_of

RECORDED = "recorded"


def opened(
    upstream: str, contract: Contract, money: Money, recorder: Recorder, *, sender: Sender, port: int = 0, seconds: float = 60.0,
    authority: Authority | None = None, mode: str = RECORDED, target: str = "", case: str = "", allow_http: bool = False,
) -> RecordingProxy:  # fmt: skip
    """A proxy in front of *upstream*, the contract's server where it is empty. target: what is judged; case: of the events.
    allow_http: send keys to another machine in clear.

    Raises:
        SetupError: no URL, or something may be charged and no cap was given. OSError: the port is taken.
    """
    base = origin_of(upstream or services_of(contract)[0], allow_http=allow_http)
    guard = guard_before(base, contract, money, sender)
    recorder.note(Topic.RUN, target=target or base, mode=mode, contract=contract.version)
    past = GuardedSender(sender, guard, contract, patient=False)
    return RecordingProxy(
        Upstream(base, hosts_of(contract, base)), recorder, past, sender, contract, authority=authority, port=port, seconds=seconds,
        case=case,
    )  # fmt: skip


def guard_before(base: str, contract: Contract, money: Money, sender: Sender) -> Guard:
    """The guard before *base*; one that watches nothing where that is a fake and no cap was given.

    Raises:
        SetupError: it may bill, and there is no cap.
    """
    from kling_contract.rules.verdicts import SetupError

    if money.max_usd is None and money.creates is None:
        services = services_of(contract)
        control = (
            choose_mode(base, None, control=False, services=services) == "fake"
            or Control(base, sender).info() is not None
        )
        if choose_mode(base, None, control=control, services=services) == "fake":
            return Guard()
        raise SetupError(f"{base} may bill: --max-usd says the most dollars that the client may spend")
    return guard_for(contract, Price.of(contract, money.usd_per_second), money.caps("paid"))
