"""Real sockets: what only they can show."""

import contextlib
import socket
import ssl
import threading

import pytest
import trustme

from kling_client import Client, CreateOutcomeUnknown, GaveUp, NetworkError, PollPolicy, Timeouts

QUICK = PollPolicy(min_poll=0.01, first=1.0, deadline=5.0)


@contextlib.contextmanager
def raw_server(answer, tls=None):
    """A server that reads a request and then does as *answer* says with the connection; gives port and what was read."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _peer = listener.accept()
                    with contextlib.suppress(OSError), connection:
                        connection.settimeout(5)
                        with tls.wrap_socket(connection, server_side=True) if tls else connection as speaking:
                            heard.append(speaking.recv(65536))
                            answer(speaking)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heard
        listener.close()


def test_a_cut_reply_is_unknown_and_not_repeated(kit):
    """CM-02 on a real connection, also by the libraries below."""
    with raw_server(lambda connection: None) as (port, heard):
        client = Client(kit.key, f"http://127.0.0.1:{port}", poll=QUICK)
        with pytest.raises(CreateOutcomeUnknown):
            client.create(kit.image)
        assert len(heard) == 1


def test_silence_ends_with_the_timeout(kit):
    """CP-14: accepts and never answers."""
    done = threading.Event()
    with raw_server(lambda connection: done.wait(5)) as (port, _heard):
        client = Client(kit.key, f"http://127.0.0.1:{port}", poll=QUICK, timeouts=Timeouts(1, 0.1, 1))
        with pytest.raises(NetworkError, match=r"no answer after 0\.1 s"):
            client.get(kit.task_id)
        done.set()


def test_a_dripping_answer_ends_with_the_total(kit):
    """A byte now and then is no reason to wait for ever."""
    done = threading.Event()

    def drip(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not done.wait(0.02):
            connection.sendall(b" ")

    with raw_server(drip) as (port, _heard):
        client = Client(kit.key, f"http://127.0.0.1:{port}", poll=QUICK, timeouts=Timeouts(1, 1, 0.2))
        with pytest.raises(NetworkError, match="not complete"):
            client.get(kit.task_id)
        done.set()


def test_a_port_without_a_server_is_not_sent_to(kit):
    """Refused connections are known not to have been heard."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NetworkError, match="refused") as caught:
        Client(kit.key, f"http://127.0.0.1:{port}").create(kit.image)

    assert not caught.value.sent


def test_a_server_that_dies_is_waited_for_until_the_deadline(kit):
    """CP-06, CP-13."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    policy = PollPolicy(min_poll=0.01, deadline=0.3)
    with pytest.raises(GaveUp):
        Client(kit.key, f"http://127.0.0.1:{port}", poll=policy).wait(kit.task_id)


@pytest.fixture
def tls():
    """A server's TLS context and the CA behind it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context, authority


def test_strange_certificates_are_refused(kit, tls):
    """CQ-07: no request leaves, so nothing is owed."""
    with raw_server(lambda connection: None, tls[0]) as (port, heard):
        with pytest.raises(NetworkError, match="TLS") as caught:
            Client(kit.key, f"https://127.0.0.1:{port}").create(kit.image)
        assert heard == []
    assert not caught.value.sent


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environments_authorities_are_trusted(kit, tls, monkeypatch, tmp_path, variable):
    """Both variables that `kling-mock exec` sets."""
    tls[1].cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
    body = b'{"data": {"token": {}}}'
    reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    with raw_server(lambda connection: connection.sendall(reply), tls[0]) as (port, _heard):
        assert Client(kit.key, f"https://127.0.0.1:{port}").credits() == {"token": {}}


def test_netrc_does_not_replace_the_key(kit, monkeypatch, tmp_path):
    """CQ-01: whatever is in the user's netrc, and links get nothing of it either (CQ-04)."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login evil password pw\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    reply = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    with raw_server(lambda connection: connection.sendall(reply)) as (port, heard):
        client = Client(kit.key, f"http://127.0.0.1:{port}")
        for call in (client.credits, lambda: client.download(f"http://127.0.0.1:{port}/a.mp4", "a.mp4")):
            with pytest.raises(Exception, match="404"):
                call()

    assert f"Authorization: Bearer {kit.key}".encode() in heard[0]
    assert b"Authorization" not in heard[1]


def test_no_cookies_are_kept(kit):
    """No host gets back what another call was given."""
    body = b'{"data": {"token": {}}}'
    cookie = b"Set-Cookie: spy=1; Path=/\r\nConnection: close"
    reply = b"HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %d\r\n\r\n%s" % (cookie, len(body), body)
    with raw_server(lambda connection: connection.sendall(reply)) as (port, heard):
        client = Client(kit.key, f"http://127.0.0.1:{port}")
        client.credits()
        client.credits()

    assert b"Cookie" not in b"".join(heard)


def test_the_loopback_needs_no_proxy(kit, monkeypatch, service):
    """A proxy in the environment is for other hosts."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with kit.serving(service) as url:
        assert Client(kit.key, url).credits()


def test_a_create_uses_a_new_connection(kit):
    """On a kept connection that the server is just closing its outcome would be unknown; reads may keep theirs."""
    body = b'{"data": {"token": {}}}'
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    later = []

    def answer(connection):
        connection.sendall(reply)
        if request := connection.recv(65536):
            later.append(request.split(b" ")[0])
            connection.sendall(reply)

    with raw_server(answer) as (port, heard):
        client = Client(kit.key, f"http://127.0.0.1:{port}", poll=QUICK)
        client.credits()
        client.credits()
        with pytest.raises(CreateOutcomeUnknown, match="task id"):
            client.create(kit.image)

    # What comes later on the second connection is the rest of the create itself.
    assert later[0] == b"GET"
    assert b"POST" not in later
    assert [request.split(b" ")[0] for request in heard] == [b"GET", b"POST"]
