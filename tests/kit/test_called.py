"""A server that is called: any WSGI application, asked as over a socket; and the correct one that mutants are tried on."""

from collections.abc import Iterable
from typing import Any

import pytest

from kling_contract.driving.sender import Limits
from kling_contract.mutants.called import Called, application
from kling_contract.mutants.mutant import Mutant, Switch, broken
from kling_contract.mutants.servers import BY_NAME
from kling_contract.mutants.serving import served
from kling_contract.mutants.trial import try_mutant
from kling_contract.rules.verdicts import SetupError


class Application:
    """Keeps the environment and the body of the last request, and answers with what it was made with."""

    def __init__(self, status: str = "200 OK", body: bytes = b"{}", error: Exception | None = None) -> None:
        self.status, self.body, self.error = status, body, error
        self.environ: dict[str, Any] = {}
        self.sent = b""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.environ, self.sent = environ, environ["wsgi.input"].read()
        if self.error is not None:
            raise self.error
        start_response(self.status, [("Content-Type", "application/json"), ("X-Two", "a"), ("x-two", "b")])
        return [self.body[:1], self.body[1:]]


class Taken:
    """A taker that keeps what it is given."""

    def __init__(self) -> None:
        self.status, self.data = 0, b""

    def head(self, status: int, headers: Any) -> None:
        """Keep the status."""
        self.status = status
        assert headers

    def block(self, data: bytes) -> None:
        """Keep the bytes."""
        self.data += data


def test_a_request_arrives_as_it_was_sent() -> None:
    """
    Method, path without its escapes, query, headers and body.
    """
    app = Application()
    sender = Called(app)

    headers = [("Content-Type", "text/x"), ("X-A", "1"), ("x-a", "2")]
    reply = sender.send("POST", sender.url + "/v1/caf%C3%A9?a=%20b", headers, b"body")

    assert app.environ["REQUEST_METHOD"] == "POST"
    assert app.environ["PATH_INFO"].encode("latin-1").decode() == "/v1/café"
    assert app.environ["QUERY_STRING"] == "a=%20b"
    assert (app.environ["CONTENT_TYPE"], app.environ["HTTP_X_A"], app.environ["CONTENT_LENGTH"]) == (
        "text/x",
        "1,2",
        "4",
    )
    assert app.environ["HTTP_HOST"] == sender.url.removeprefix("http://")
    assert app.sent == b"body"
    assert (reply.status, reply.body, reply.lost) == (200, b"{}", "")
    assert reply.headers == (("content-type", "application/json"), ("x-two", "a"), ("x-two", "b"))


def test_a_request_without_a_body_has_no_length() -> None:
    """
    As a client sends a GET.
    """
    app = Application()
    Called(app).send("GET", "http://127.0.0.1:1", [], None)

    assert "CONTENT_LENGTH" not in app.environ
    assert app.environ["PATH_INFO"] == "/"


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 NO CONTENT"), ("GET", "304 NOT MODIFIED")]
)
def test_some_answers_have_no_body(method: str, status: str) -> None:
    """
    Whatever the application gives.
    """
    assert Called(Application(status, b"more")).send(method, "http://127.0.0.1:1/", [], None).body == b""


def test_an_answer_has_a_cap() -> None:
    """
    As over a socket: the first bytes are kept, and it is said.
    """
    reply = Called(Application(body=b"12345")).send("GET", "http://127.0.0.1:1/", [], None, Limits(answer=4))

    assert (reply.status, reply.body, reply.lost) == (200, b"1234", "too large")


def test_a_taker_gets_the_body() -> None:
    """
    What is not to be kept goes to who takes it.
    """
    taken = Taken()
    reply = Called(Application(body=b"12345")).stream("GET", "http://127.0.0.1:1/", [], None, Limits(), taken)

    assert (taken.status, taken.data) == (200, b"12345")
    assert reply.body == b""


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError("silent"), ValueError("odd")])
def test_an_application_that_breaks_gives_no_answer(error: Exception) -> None:
    """
    Which is what a caller sees of a connection that broke.
    """
    reply = Called(Application(error=error)).send("GET", "http://127.0.0.1:1/", [], None)

    assert (reply.status, reply.lost) == (None, "cut")
    assert str(error) in reply.detail


def test_settings_that_do_not_fit_are_said_in_a_line() -> None:
    """
    As the process says it, which does not start.
    """
    with pytest.raises(SetupError, match=r"kling-mock did not start: .*sideways"), application(clock="sideways"):
        pass


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["dearer-in-the-end", "duration-one-longer", "local-callbacks", "hd-is-cheaper"])
def test_a_mutant_of_a_called_server_is_named(name: str) -> None:
    """
    With switches on the wire, with a contract of its own, with an option, and with a setting of its own.
    """
    with application() as correct:
        trial = try_mutant(BY_NAME[name], correct, 7_200)

    assert trial.problem == ""
    assert trial.first == BY_NAME[name].rule


def test_a_called_mutant_is_also_there_on_a_socket() -> None:
    """
    What is not plain goes over one, and what it says of itself leads there.
    """
    harmless = broken("SL-19", "harmless", "changes nothing", Switch())
    with application() as correct, served(harmless, correct) as there:
        plain = there.sender.send("GET", f"{there.url}/v1/credits", [("Authorization", "Bearer sk-called")], None)
        odd = there.sender.send(
            "GET", f"{there.url}/v1/credits", [("Authorization", "Bearer sk-called"), ("TE", "trailers")], None
        )

    assert (plain.status, plain.body) == (odd.status, odd.body) == (200, plain.body)


def test_an_own_fake_of_a_served_mutant_gets_its_settings() -> None:
    """
    By hand a mutant is served by a process; its options are words there.
    """
    dear = Mutant("dear", "SB-01", "costs more", (Switch(settings={"service_settings": {"starting_credits": 7}}),))
    with served(dear, "http://127.0.0.1:1") as there:
        reply = there.sender.send("GET", f"{there.url}/v1/credits", [("Authorization", "Bearer sk-dear")], None)

    assert b"7" in reply.body
