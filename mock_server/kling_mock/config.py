"""The settings of `kling-mock serve`: typed, checked, with one clear line for a bad value."""

import re
import ssl
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jsonschema_rs
import orjson

import kling_openapi
from kling_common.kept import Kept
from kling_common.targets import BadAddress, parse
from kling_mock.clock import Clock, Mode
from kling_mock.contract import Contract
from kling_mock.core.callbacks import origin
from kling_mock.core.nearest import did_you_mean
from kling_mock.core.observed import Observed
from kling_mock.core.shaped import (
    Invalid,
    Problem,
    Shaped,
    anything,
    choice,
    items,
    mapping,
    member,
    optional,
    path,
    text,
    truth,
    whole,
)

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not bound
_MOST_WORKERS = 64
_LAST_PORT = 65535
_FARTHEST_START = 1e15
_CLOCK = re.compile(r"real|manual|x\d+(\.\d+)?")


class BadSetting(ValueError):
    """A setting cannot be used; one line that says what is wrong and what would be right."""


def _origins(relays: dict[str, str]) -> dict[str, str]:
    try:
        return {origin(source): origin(target) for source, target in relays.items()}
    except ValueError as error:
        raise ValueError(f"{error}; write it like --relay https://hooks.example.com=http://127.0.0.1:9000") from error


def _hard_to_guess(token: str) -> str:
    if not token.strip():
        raise ValueError("an empty token would let everybody in; leave the option out, or choose a token")
    return token


def _some_workers(workers: int) -> int:
    if not 1 <= workers <= _MOST_WORKERS:
        raise ValueError(f"a number of processes from 1 to {_MOST_WORKERS}")
    return workers


def _rate(clock: str) -> str:
    if not _CLOCK.fullmatch(clock):
        raise ValueError("say real, manual, or x and a rate, such as x60")
    if clock.startswith("x"):
        rate = kling_openapi.read(kling_openapi.CONTROL)["components"]["schemas"]["SetClock"]["properties"]["rate"]
        if not rate["minimum"] <= float(clock[1:]) <= rate["maximum"]:
            raise ValueError(f"a rate lies between {rate['minimum']} and {rate['maximum']}")
    return clock


def _moment(start: str | float | None) -> float | None:
    """Return a moment that seconds can still be added to: floats of more lose them, and neither infinity nor NaN is one."""
    seconds = _unix_seconds(start)
    if seconds is not None and not abs(seconds) <= _FARTHEST_START:
        raise ValueError(f"say Unix seconds from -{_FARTHEST_START:.0e} to {_FARTHEST_START:.0e}")
    return seconds


def _unix_seconds(start: str | float | None) -> float | None:
    if start is None:
        return None
    try:
        return float(start)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(str(start))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError("say Unix seconds, or a moment such as 2025-09-06T14:42:23Z") from error


_texts = optional(items(text()))
_NO_KEY = "name at least one key, or say any"
_NO_MODEL = "name at least one model, or leave the option out to serve all"


def _some(complaint: str, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if names is not None and not names:
        raise ValueError(complaint)
    return names


def _certificates(file: Path | None) -> Path | None:
    if file is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(f"no file of certificates in PEM: {error.strerror or error}") from error
    return file


def _host(name: str) -> str:
    """Return *name* as it stands in a Host header, without a port."""
    try:
        target = parse(f"http://{name}:1", ("http",))
    except BadAddress as error:
        raise ValueError(f"{name!r} is not a host name such as mock.example: it {error.reason}") from error
    if (target.port, target.resource) != (1, "/"):
        raise ValueError(f"{name!r} is more than a host name; leave out scheme, port and path")
    return target.host


class Settings(Shaped):
    """Everything the fake is started with. Times are seconds unless a name says otherwise."""

    host: str = member(text(), default="127.0.0.1")
    port: int = member(whole(0, _LAST_PORT), default=4010)
    workers: int = member(lambda value: _some_workers(whole()(value)), default=1)
    store: str = member(text(), default="memory")
    no_courier: bool = member(truth, default=False)
    clock: str = member(text(then=_rate), default="real")
    start: float | None = member(_moment, default=None)
    seed: int = member(whole(), default=0)
    scenario: str = member(text(), default="completed")
    scenarios: Path | None = member(optional(path), default=None)
    callbacks: Literal["strict", "local"] = member(choice(("strict", "local")), default="strict")
    relays: dict[str, str] = member(lambda value: _origins(mapping(text(), text())(value)), default={})
    images: Literal["fetch", "offline"] = member(choice(("fetch", "offline")), default="fetch")
    videos: Literal["full", "tiny"] = member(choice(("full", "tiny")), default="full")
    keys: tuple[str, ...] | None = member(lambda value: _some(_NO_KEY, _texts(value)), default=None)
    models: tuple[str, ...] | None = member(lambda value: _some(_NO_MODEL, _texts(value)), default=None)
    admin_token: str | None = member(optional(text(then=_hard_to_guess)), default=None)
    allowed_host: tuple[str, ...] = member(lambda value: tuple(map(_host, items(text())(value))), default=())
    fetch_local: tuple[str, ...] = member(lambda value: tuple(map(origin, items(text())(value))), default=())
    public_url: str | None = member(optional(text(then=origin)), default=None)
    trust_proxy: bool = member(truth, default=False)
    contract: Path | None = member(optional(path), default=None)
    profile: str = member(text(), default="current")
    service_settings: dict[str, Any] = member(mapping(text(), anything), default={})
    callback_ca: Path | None = member(lambda value: _certificates(optional(path)(value)), default=None)
    journal: int = member(whole(1), default=1_000)
    tls: bool = member(truth, default=False)
    impersonate: bool = member(truth, default=False)
    proxy_port: int = member(whole(0, _LAST_PORT), default=0)
    ca_out: Path | None = member(optional(path), default=None)

    @classmethod
    def prepared(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Give the links of an impersonating fake a public-looking name, which leads to it as the service's own names do."""
        if not given.get("impersonate") or given.get("public_url") is not None:
            return given
        default = kling_openapi.family().raw["x-assumptions"]["link_origin"]["schema"]["default"]
        return {**given, "public_url": given.get("service_settings", {}).get("link_origin", default)}

    def check(self) -> None:
        """Hold options to each other."""
        if self.workers > 1 and self.store == "memory":
            raise ValueError(
                f"--workers {self.workers} needs a store that processes share; "
                "add --store sqlite:///kling.db or --store postgresql://..."
            )
        if self.workers > 1 and self.impersonate:
            raise ValueError("--impersonate serves from one process; leave out --workers")
        if self.no_courier and self.store == "memory":
            raise ValueError("--no-courier needs a store that a courier shares; add --store postgresql://...")
        if self.proxy_port and not self.impersonate:
            raise ValueError("--proxy-port is the port of --impersonate; give both")
        if self.ca_out is not None and not self.secure:
            raise ValueError("--ca-out goes with --tls or --impersonate; without them there is nothing to trust")

    def as_json(self, leave_out: Collection[str] = ()) -> str:
        """Return what was given, without what is to be left out; `settings` takes it."""
        said = {name: value for name, value in self.__dict__.items() if name in self.given and name not in leave_out}
        return orjson.dumps(said, default=str).decode()

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the fake."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def chosen_seed(self) -> int | None:
        """The seed that was asked for; None where it is only the default."""
        return self.seed if "seed" in self.given else None

    @property
    def secure(self) -> bool:
        """Whether the fake speaks HTTPS."""
        return self.tls or self.impersonate

    @property
    def own_origin(self) -> str:
        """Scheme, host and port at which a program on this machine finds the fake."""
        reached = _EVERYWHERE.get(self.host, self.host)
        host = f"[{reached}]" if ":" in reached else reached
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    def start_clock(self) -> Clock:
        """A clock as the server was started with."""
        mode: Mode = "scaled" if self.clock.startswith("x") else self.clock  # type: ignore[assignment]
        return Clock(mode, float(self.clock[1:]) if mode == "scaled" else 1.0, self.start)


def settings(**given: Any) -> Settings:
    """Settings from *given*.

    Raises:
        BadSetting: a value does not fit.
    """
    try:
        return Settings(**given)
    except Invalid as error:
        raise BadSetting("; ".join(map(_line, error.problems))) from error


def _line(problem: Problem) -> str:
    if not problem.place:
        return problem.message
    name = "--" + ".".join(str(part) for part in problem.place).replace("_", "-")
    return f"{name} {problem.value}: {problem.message}"


_PROFILES = Path(__file__).parent / "profiles"
PARSED = Path(__file__).with_name("parsed.json")
"""What the shipped profiles and scenarios say; `scripts/scenarios` writes it."""
KEPT = Kept(PARSED)


def profiles() -> dict[str, Path]:
    """Named sets of settings where no document says what the service does, one YAML file each."""
    return {file.stem: file for file in sorted(_PROFILES.glob("*.yaml"))}


class ServiceSettings:
    """The fake's answer to each question that the sources leave open, by the name it has in the contract's x-assumptions."""

    def __init__(self, contract: Contract, profile: str = "current", overrides: dict[str, Any] | None = None) -> None:
        """Defaults of the contract, then the profile (a name or a YAML file), then *overrides*.

        Raises:
            BadSetting: an unknown name, or a value that its schema refuses.
        """
        # Plain attributes: each call reads several.
        self.__dict__.update({name: entry["schema"]["default"] for name, entry in contract.assumptions.items()})
        values = _profile(profile)
        self.observed = _observed(profile, values.pop("observed", []))
        for name, value in values.items():
            try:
                self._set(contract, name, value)
            except BadSetting as error:
                raise BadSetting(f"--profile {profile}: {error}") from error
        for name, value in (overrides or {}).items():
            self._set(contract, name, value)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a setting; their names stand in the contract."""

    def _set(self, contract: Contract, name: str, value: Any) -> None:
        if name not in contract.assumptions:
            raise BadSetting(
                f"--set {name}: there is no such setting{did_you_mean(name, contract.assumptions)}; "
                f"there are {', '.join(sorted(contract.assumptions))}"
            )
        schema = contract.assumptions[name]["schema"]
        problem = next(jsonschema_rs.Draft202012Validator(schema).iter_errors(value), None)
        if problem is not None:
            raise BadSetting(f"{name}: {problem.message}; {contract.assumptions[name]['summary']}")
        setattr(self, name, {**schema["default"], **value} if isinstance(value, dict) else value)


def _observed(profile: str, found: Any) -> tuple[Observed, ...]:
    if not isinstance(found, list):
        raise BadSetting(f"--profile {profile}: observed is a list of responses")
    try:
        return tuple(map(Observed.of, found))
    except Invalid as error:
        first = error.problems[0]
        place = ".".join(map(str, first.place))
        raise BadSetting(f"--profile {profile}: observed: {place}: {first.message}") from error


def _profile(name: str) -> dict[str, Any]:
    known = profiles()
    try:
        text = known.get(name, Path(name)).read_text(encoding="utf-8")
    except OSError as error:
        names = ", ".join(known)
        raise BadSetting(
            f"--profile {name}: neither a profile ({names}) nor a readable file ({error.strerror})"
        ) from error
    except UnicodeDecodeError as error:
        raise BadSetting(f"--profile {name}: not UTF-8 text") from error
    kept = KEPT.documents(text) if name in known else None
    values = _loaded(name, text) if kept is None else dict(kept[0])
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise BadSetting(f"--profile {name}: a profile is a mapping of settings, such as `error_codes: legacy`")
    return values


def _loaded(name: str, text: str) -> Any:
    """Return what a profile of the user's says."""
    from kling_common.documents import BadYaml, load

    try:
        return load(text)
    except BadYaml as error:
        raise BadSetting(f"--profile {name}: {error}") from error
