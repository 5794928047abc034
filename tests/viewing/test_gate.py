"""Requests as browsers make them, welcome and not."""

import pytest

from onefield.errors import UsageError
from onefield.viewing.gate import Gate, is_loopback

TOKEN = "4f9a11c2e8"
HERE = Gate(port=8080)
FAR = Gate("0.0.0.0", 8080, TOKEN)


def asked(gate, path="/", host="127.0.0.1:8080", origin=None, cookie=None, socket=False):
    hosts, origins, cookies = ([] if value is None else [value] for value in (host, origin, cookie))
    return gate.refusal(path, hosts, origins, cookies, socket)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
def test_the_own_page_is_served_and_may_open_its_socket(host):
    assert asked(HERE, host=host) is None
    assert asked(HERE, host=host, origin=f"http://{host}", socket=True) is None


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://127.0.0.1.evil.example:8080", "http://127.0.0.1:8081", "http://127.0.0.1", "null"],
)
def test_a_page_from_elsewhere_gets_no_socket(origin):
    assert "own page" in asked(HERE, origin=origin, socket=True)


def test_a_socket_that_does_not_say_where_it_comes_from_is_refused():
    assert asked(HERE, socket=True) is not None


def test_a_foreign_name_that_points_here_is_refused():
    """DNS rebinding: origin and host agree, but neither is this viewer's."""
    host = "evil.example:8080"
    assert asked(HERE, host=host) is not None
    assert asked(HERE, host=host, origin=f"http://{host}", socket=True) is not None
    assert asked(HERE, host=None) is not None


def test_beyond_this_machine_the_token_is_needed():
    host = "192.168.1.7:8080"
    own = {"host": host, "origin": f"http://{host}", "socket": True}
    assert "token" in asked(FAR, host=host)
    assert "token" in asked(FAR, f"/?token={TOKEN}x", host=host)
    assert asked(FAR, f"/?token={TOKEN}", host=host) is None
    assert "token" in asked(FAR, **own)
    name = FAR.cookie.partition(";")[0]
    assert asked(FAR, cookie=name, **own) is None
    assert "token" in asked(FAR, cookie=name + "x", **own)
    assert "own page" in asked(FAR, host=host, cookie=name, origin="http://evil.example", socket=True)


def test_what_is_printed_opens_the_page():
    path = FAR.page.removeprefix("http://localhost:8080")
    assert asked(FAR, path, host="localhost:8080") is None
    assert HERE.page == "http://127.0.0.1:8080/"


@pytest.mark.parametrize("gate", [Gate("0.0.0.0"), Gate("192.168.1.7"), Gate("::"), Gate("my-machine")])
def test_other_addresses_need_a_token(gate):
    with pytest.raises(UsageError, match="--token"):
        gate.check()


@pytest.mark.parametrize("token", ["", "short", "with space 12", "a;b;c;d;e;f"])
def test_weak_tokens_are_refused(token):
    with pytest.raises(UsageError, match="--token"):
        Gate(token=token).check()


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_that_do_not_exist_are_refused(port):
    with pytest.raises(UsageError, match="--port"):
        Gate(port=port).check()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_this_machines_own_addresses_need_none(host):
    assert is_loopback(host)
    Gate(host).check()
