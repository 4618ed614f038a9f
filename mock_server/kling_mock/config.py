"""The settings of `kling-mock serve`: typed, checked, with one clear line for a bad value."""

import re
import ssl
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import jsonschema_rs
import orjson
from msgspec import Meta, field

import kling_openapi
from kling_common.kept import Kept
from kling_common.targets import BadAddress, parse
from kling_mock.clock import Clock, Mode
from kling_mock.contract import Contract
from kling_mock.core.callbacks import origin
from kling_mock.core.nearest import did_you_mean
from kling_mock.core.observed import Observed
from kling_mock.core.records import Invalid, Record, kind

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not bound
_MOST_WORKERS = 64
_FARTHEST_START = 1e15
_CLOCK = re.compile(r"real|manual|x\d+(\.\d+)?")


class BadSetting(ValueError):
    """A setting cannot be used; one line that says what is wrong and what would be right."""


def _origins(relays: dict[str, str]) -> dict[str, str]:
    try:
        return {origin(str(source)): origin(str(target)) for source, target in relays.items()}
    except ValueError as error:
        raise ValueError(f"{error}; write it like --relay https://hooks.example.com=http://127.0.0.1:9000") from error


def _hard_to_guess(token: str) -> str:
    if not token.strip():
        raise ValueError("an empty token would let everybody in; leave the option out, or choose a token")
    return token


def _rate(clock: str) -> str:
    if not _CLOCK.fullmatch(clock):
        raise ValueError("say real, manual, or x and a rate, such as x60")
    if clock.startswith("x"):
        rate = kling_openapi.read(kling_openapi.CONTROL)["components"]["schemas"]["SetClock"]["properties"]["rate"]
        if not rate["minimum"] <= float(clock[1:]) <= rate["maximum"]:
            raise ValueError(f"a rate lies between {rate['minimum']} and {rate['maximum']}")
    return clock


def _moment(start: str | float) -> float:
    """Return a moment that seconds can still be added to: floats of more lose them, and neither infinity nor NaN is one."""
    seconds = _unix_seconds(start)
    if not abs(seconds) <= _FARTHEST_START:
        raise ValueError(f"say Unix seconds from -{_FARTHEST_START:.0e} to {_FARTHEST_START:.0e}")
    return seconds


def _unix_seconds(start: str | float) -> float:
    try:
        return float(start)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(str(start))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError("say Unix seconds, or a moment such as 2025-09-06T14:42:23Z") from error


def _certificates(file: str | Path) -> Path:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"no file of certificates in PEM: {error.strerror or error}") from error
    return Path(file)


def _host(name: str) -> str:
    """Return *name* as it stands in a Host header, without a port."""
    try:
        target = parse(f"http://{name}:1", ("http",))
    except BadAddress as error:
        raise ValueError(f"{name!r} is not a host name such as mock.example: it {error.reason}") from error
    if (target.port, target.resource) != (1, "/"):
        raise ValueError(f"{name!r} is more than a host name; leave out scheme, port and path")
    return target.host


if TYPE_CHECKING:
    _Origin = str
    _Host = str
    _Clock = str
    _Token = str
    _Relays = dict[str, str]
    _Moment = float
    _Path = Path
    _Certificates = Path
else:
    _Origin, _Host, _Clock, _Token = (kind(read, str) for read in (origin, _host, _rate, _hard_to_guess))
    _Relays = kind(_origins, dict)
    _Moment = kind(_moment, str | int | float)
    _Path, _Certificates = kind(Path, str | Path), kind(_certificates, str | Path)

_Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(Record, dict=True):
    """Everything the fake is started with. Times are seconds unless a name says otherwise."""

    host: str = "127.0.0.1"
    port: _Port = 4010
    workers: Annotated[
        int, Meta(ge=1, le=_MOST_WORKERS, description=f"a number of processes from 1 to {_MOST_WORKERS}")
    ] = 1
    store: str = "memory"
    no_courier: bool = False
    clock: _Clock = "real"
    start: _Moment | None = None
    seed: int = 0
    scenario: str = "completed"
    scenarios: _Path | None = None
    callbacks: Literal["strict", "local"] = "strict"
    relays: _Relays = field(default_factory=dict)
    images: Literal["fetch", "offline"] = "fetch"
    videos: Literal["full", "tiny"] = "full"
    keys: Annotated[tuple[str, ...], Meta(min_length=1, description="name at least one key, or say any")] | None = None
    models: (
        Annotated[
            tuple[str, ...],
            Meta(min_length=1, description="name at least one model, or leave the option out to serve all"),
        ]
        | None
    ) = None
    admin_token: _Token | None = None
    allowed_host: tuple[_Host, ...] = ()
    fetch_local: tuple[_Origin, ...] = ()
    public_url: _Origin | None = None
    trust_proxy: bool = False
    contract: _Path | None = None
    profile: str = "current"
    service_settings: dict[str, Any] = field(default_factory=dict)
    callback_ca: _Certificates | None = None
    journal: Annotated[int, Meta(ge=1)] = 1_000
    tls: bool = False
    impersonate: bool = False
    proxy_port: _Port = 0
    ca_out: _Path | None = None

    @classmethod
    def of(cls, value: Any) -> Self:
        """Give the links of an impersonating fake a public-looking name, which leads to it as the service's own names do."""
        said = dict(value)
        if said.get("impersonate") and said.get("public_url") is None:
            default = kling_openapi.family().raw["x-assumptions"]["link_origin"]["schema"]["default"]
            said["public_url"] = said.get("service_settings", {}).get("link_origin", default)
        made = super().of(said)
        made.__dict__["given"] = frozenset(said)
        return made

    def __post_init__(self) -> None:
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

    @property
    def given(self) -> frozenset[str]:
        """The names of the settings that were not left out."""
        return self.__dict__["given"]  # type: ignore[no-any-return]

    def as_json(self, leave_out: Collection[str] = ()) -> str:
        """Return what was given, without what is to be left out; `settings` takes it."""
        said = {name: getattr(self, name) for name in self.__struct_fields__ if name in self.given - set(leave_out)}
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
        names = ".".join(str(part) for part in error.place if isinstance(part, str)).replace("_", "-")
        raise BadSetting(f"--{names} {error.value}: {error.message}" if names else error.message) from error


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
        raise BadSetting(f"--profile {profile}: observed: {error}") from error


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
