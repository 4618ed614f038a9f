"""Which callback addresses are refused: every spelling, both ways."""

# ruff: noqa: RUF001 - look-alike characters are the subject here

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_common.targets import BadAddress, parse
from kling_mock.core.callbacks import AddressRules, check, is_internal, origin

NAMED = tuple(
    ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
    )
)
STRICT = AddressRules(schemes=("https",), max_length=2048, allow_internal=False, internal=NAMED)
LOCAL = AddressRules(schemes=("https", "http"), max_length=2048, allow_internal=True, internal=NAMED)
INTERNAL = "must not point to an internal address"


def reason(url: str, rules: AddressRules = STRICT) -> str | None:
    """Why *url* is refused, or None where it is taken."""
    try:
        check(url, rules)
    except BadAddress as error:
        return error.reason
    return None


INTERNAL_HOSTS = """
127.0.0.1 127.255.255.254 127.0.0.1. 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.0 192.168.255.255
169.254.169.254 100.64.0.1 100.127.255.255 0.0.0.0 0.1.2.3 198.18.0.1 198.19.255.255 192.0.0.1 192.0.0.9 192.0.2.1
198.51.100.7 203.0.113.7 192.88.99.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 2130706433 2130706433.
0x7f000001 0X7F000001 017700000001 0177.0.0.1 0x7f.1 127.1 10.1 127.0.1 00000177.1 0x7f.0.0.0x1 0177.0x0.1 0 0x
0x.0x.0
１２７。０。０。１ 127．0．0．1 ①②⑦.0.0.1 １６９.254.169｡254 0ｘ7f。1 １２７.1 127.0.0\u200b.1 127\u00ad.1 [::1] [::]
[0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [::ffff:8.8.8.8] [64:ff9b::127.0.0.1]
[64:ff9b::a00:1] [64:ff9b:1::8.8.8.8] [2002:7f00:1::] [2002:c0a8:101::1] [2001:0:4136:e378:8000:63bf:80ff:fffe]
[fc00::1] [fdff::1] [fe80::1] [febf::1] [fec0::1] [ff02::1] [ff0e::1] [2001:db8::1] [3fff::1] [100::1] [4000::1]
[5f00::1] [2001:2::1] localhost LOCALHOST localhost. api.localhost printer.local db.internal localhost.localdomain
ip6-localhost ip6-loopback localhost4.localdomain4 localhost6.localdomain6 ip6-localnet ip6-mcastprefix ip6-allnodes
ip6-allrouters ip6-allhosts broadcasthost loopback router.home.arpa [2606:4700::5efe:127.0.0.1] [2606:4700::200:5efe:a00:1]
[2a00:1450:4001:0:300:5efe:c0a8:101] [2002:808:808::5efe:169.254.169.254] ｌｏｃａｌｈｏｓｔ ⓛocalhost metadata.google.internal
"""


@pytest.mark.parametrize("host", INTERNAL_HOSTS.split())
def test_internal_hosts_are_refused_in_every_spelling(host: str) -> None:
    """Strict rules refuse it as internal; local rules take the very same URL."""
    url = f"https://{host}/hook"

    assert reason(url) == INTERNAL
    assert reason(url, LOCAL) is None


PUBLIC_HOSTS = """
11.0.0.1 9.255.255.255 172.15.255.255 172.32.0.1 192.167.255.255 192.169.0.1 126.255.255.255 128.0.0.1 100.63.255.255
100.128.0.1 169.253.255.255 169.255.0.0 198.17.255.255 198.20.0.0 223.255.255.255 1.0.0.0 192.0.1.0 134744072
0x08080808 010.8.8.8 8.8.8.8. ８.８.８.８ 8.2056 [2606:4700::1] [2002:808:808::1] [64:ff9b::8.8.8.8]
[2606:4700::5efe:8.8.8.8] [2606:4700::5eff:7f00:1] [2A00:1450:4001::1] [2400:cb00::]
hooks.example.com HOOKS.Example.COM hooks.example.com. bücher.example xn--bcher-kva.example
my_host.example a--b.example notlocalhost localhost.example.com mylocal internal.example.com 127.0.0.1.example.com
1e100.net 0x7f.example 10.0.0.x
"""


@pytest.mark.parametrize("host", PUBLIC_HOSTS.split())
def test_public_hosts_are_taken(host: str) -> None:
    """Neighbours of the internal ranges and look-alike names are none of them (SV-20)."""
    assert reason(f"https://{host}/hook") is None


REFUSED = {
    "must begin with https://": [
        *(
            "http://example.com/",
            "ftp://example.com/",
            "javascript:alert(1)",
            "data:text/plain,x",
            "wss://example.com/",
        ),
        *("", "x", "https", "/hook", "//example.com/", "example.com/hook", "https:example.com", "https:/example.com"),
        *("httpſ://example.com/", "://example.com/"),
    ],
    "name a host": [
        *(
            "https://",
            "https:///example.com/",
            "https://?q",
            "https://#f",
            "https://:443/",
            "https://./",
            "https://../",
        ),
        *(
            "https://a..b/",
            "https://.a/",
            "https://a../",
            "https://exa<mple.com/",
            "https://℀.example/",
            "https://a․b/",
        ),
        *("https://127%2E0.0.1/", "https://%6cocalhost/", "https://ex%61mple.com/", "https://[127.0.0.1]/"),
        *(
            "https://::1/",
            "https://[::1/",
            "https://::1]/",
            "https://[::g]/",
            "https://[1:2:3]/",
            "https://[fe80::1%]/",
        ),
        *("https://[v1.a]/", "https://[::1]a/", "https://a[::1]/", "https://[]/"),
        *(f"https://{'a' * 64}.example/", f"https://{'a.' * 127}a/"),
    ],
    "port from 1 to 65535": [
        *("https://a.example:0/", "https://a.example:65536/", "https://a.example:x/", "https://a.example:-1/"),
        *("https://a.example:+1/", "https://a.example:４４３/", "https://a.example:1_0/", "https://a.example:00/"),
        *("https://[2606:4700::1]:x/", "https://a:b:c/", f"https://a.example:{'9' * 1500}/"),
    ],
    "user name": [
        *("https://me@example.com/", "https://me:pw@example.com/", "https://@example.com/", "https://a.example:80@b/"),
        *("https://a.example?@b.example/", "https://a.example#@b.example/"),
    ],
    "spaces": [
        *("https://a.example\\@b.example/", "https:\\\\a.example/", " https://a.example/", "https://a.example/\n"),
        *("https://a.exa\tmple/", "https://a.example/a b", "https://a.example/\x00", "https://a.example/\x7f"),
        *("https://a.example/\u2028", "https://a.example/\ud800", "\ufeffhttps://a.example/", "ht\ntps://a.example/"),
    ],
    "interface": ["https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[2606:4700::1%251]/"],
    "IPv4": [
        *("https://256.0.0.1/", "https://1.2.3.4.5/", "https://127.0.0.08/", "https://4294967296/"),
        *("https://127.0.0.0x100/", "https://1.16777216/", "https://a.1/", "https://xn--127-.0.0.1/"),
    ],
}


@pytest.mark.parametrize(("words", "url"), [(words, url) for words, urls in REFUSED.items() for url in urls])
def test_what_is_no_plain_url_is_refused_everywhere(words: str, url: str) -> None:
    """Not even local rules take what two parsers could read differently, and the reason says what is wrong."""
    assert words in (reason(url) or "")
    assert url.startswith("http://") or reason(url, LOCAL) is not None


@pytest.mark.parametrize(
    "url", ["https://u:hunter2@example.com/", "https://hunter2:x/@", "hunter2://x", "https://hunter2 x/"]
)
def test_a_reason_never_repeats_the_url(url: str) -> None:
    """A refused URL may hold a secret."""
    assert "hunter2" not in (reason(url) or "hunter2")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("HTTPS://Hooks.Example.COM/A?b=C#d", ("https", "hooks.example.com", 443, "/A?b=C", "hooks.example.com")),
        ("https://a.example:8443", ("https", "a.example", 8443, "/", "a.example:8443")),
        ("https://a.example:443?x=@", None),
        ("https://a.example:0443/?", ("https", "a.example", 443, "/?", "a.example")),
        ("https://a.example:?x=1", ("https", "a.example", 443, "/?x=1", "a.example")),
        (
            "http://a.example:443/a/../b//c%2F%zz?d=|",
            ("http", "a.example", 443, "/a/../b//c%2F%zz?d=|", "a.example:443"),
        ),
        ("https://[2606:4700:0::1]:99/x@y:z", ("https", "2606:4700::1", 99, "/x@y:z", "[2606:4700::1]:99")),
        ("https://0x08080808/é", ("https", "8.8.8.8", 443, "/%C3%A9", "8.8.8.8")),
        ("https://bücher.example./", ("https", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example")),
    ],
)
def test_a_target_holds_what_is_sent(url: str, parts: tuple[str, str, int, str, str] | None) -> None:
    """Path, query and port stay as given (SC-15); the host takes the one form that all readers share."""
    if parts is None:
        assert reason(url, LOCAL) is not None
        return

    target = parse(url, ("https", "http"))

    assert (target.scheme, target.host, target.port, target.resource, target.authority) == parts
    assert target.url == url
    assert target.origin == f"{target.scheme}://{target.authority}"


@given(limit=st.integers(30, 200))
def test_length_counts_characters_of_the_url_as_given(limit: int) -> None:
    """Exactly the limit is taken, one more is refused; a character of four bytes counts once (SV-19)."""
    rules = AddressRules(schemes=("https",), max_length=limit, allow_internal=False)
    url = "https://hooks.example.com/".ljust(limit, "😀")

    assert reason(url, rules) is None
    assert "at most" in (reason(url + "a", rules) or "")


def test_the_contract_names_further_networks_and_names() -> None:
    """What the contract adds is internal too, and so is its IPv6 kin."""
    rules = AddressRules(("https",), 2048, False, (IPv4Network("11.0.0.0/8"),), ("corp",))

    assert reason("https://11.1.1.1/", rules) == reason("https://[2002:b01:101::1]/", rules) == INTERNAL
    assert reason("https://[64:ff9b::11.1.1.1]/", rules) == reason("https://wiki.corp/", rules) == INTERNAL


def test_an_unknown_scheme_needs_its_port() -> None:
    """A contract that allows a further scheme gets no invented default port."""
    assert parse("wss://a.example:9/", ("wss",)).port == 9
    with pytest.raises(BadAddress, match="port"):
        parse("wss://a.example/", ("wss",))


FULL_WIDTH = str.maketrans("0123456789abcdefx", "".join(chr(0xFF10 + n) for n in range(10)) + "ａｂｃｄｅｆｘ")


@st.composite
def spellings(draw: st.DrawFn) -> tuple[IPv4Address, str]:
    """Any IPv4 address, and one of the ways that programs let it be written."""
    address = IPv4Address(
        draw(st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([int(net[0]) for net in NAMED[:6]])))
    )
    whole = draw(st.integers(1, 4))
    numbers = [*address.packed[: whole - 1], int.from_bytes(address.packed[whole - 1 :])]
    styles = st.sampled_from(["{:d}", "0x{:x}", "0X{:X}", "0{:o}", "0x0{:x}", "000{:o}"])
    parts = [draw(styles).format(number) for number in numbers]
    if draw(st.booleans()):
        parts = [part.translate(FULL_WIDTH) for part in parts]
    host = draw(st.sampled_from(".。．｡")).join(parts)
    return address, host + draw(st.sampled_from(["", "."]))


@given(spelling=spellings())
def test_every_spelling_is_judged_as_the_dotted_form(spelling: tuple[IPv4Address, str]) -> None:
    """However an address is written, it is read as itself and judged alike."""
    address, host = spelling

    assert parse(f"https://{host}/", ("https",)).ip == address
    assert reason(f"https://{host}/") == reason(f"https://{address}/")


@given(address=st.integers(0, 2**32 - 1).map(IPv4Address))
def test_ipv6_kin_is_judged_at_least_as_strictly(address: IPv4Address) -> None:
    """What is refused as IPv4 is refused inside IPv6 too: mapped, compatible, NAT64, 6to4, Teredo."""
    number = int(address)
    kin = [
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(number),
        IPv6Address(0x64FF9B << 96 | number),
        IPv6Address(0x64FF9B0001 << 80 | number),
        IPv6Address(0x2002 << 112 | number << 80 | 1),
        IPv6Address(0x20010000 << 96 | number << 64 | number ^ 0xFFFFFFFF),
    ]

    judged = [is_internal(relative, NAMED) for relative in kin]

    assert all(judged) or not is_internal(address, NAMED)


@given(
    url=st.text(st.sampled_from("htps:/@[]?#%.。\\ \t0127x１aé\u200b-_"), max_size=30).map("https://".__add__)
    | st.text()
)
def test_any_text_is_judged_without_a_crash(url: str) -> None:
    """A judgement or a BadAddress, never another error; what is taken has a host, a port and an ASCII request line."""
    if reason(url, LOCAL) is None:
        target = parse(url, LOCAL.schemes)
        assert target.host
        assert 0 < target.port < 65536
        assert target.resource.isascii()
        assert target.host.isascii()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hooks.example.com", "is not an origin such as https://hooks.example.com"),
        ("ftp://hooks.example.com", "is not an origin such as https://hooks.example.com"),
        ("https://", "is not an origin such as https://hooks.example.com"),
        ("https://hooks.example.com:port", "is not an origin such as https://hooks.example.com"),
        ("https://hooks.example.com/done", "has a path; an origin ends with its host and port"),
    ],
)
def test_what_is_no_origin(text: str, words: str) -> None:
    """Each in words that show what would be one."""
    with pytest.raises(ValueError, match=words):
        origin(text)


def test_an_origin_has_one_spelling() -> None:
    """Without the default port, and in small letters."""
    assert (
        origin("HTTPS://Hooks.Example.com:443/") == origin("https://hooks.example.com") == "https://hooks.example.com"
    )
    assert origin("http://127.0.0.1:8080") == "http://127.0.0.1:8080"
