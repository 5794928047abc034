"""The gate in front of the real server, spoken to as a browser does."""

import contextlib
import logging
import socket
import urllib.error
import urllib.request

import pytest

from onefield.errors import ResourceError
from onefield.viewing.gate import Gate
from onefield.viewing.server import serving

viser = pytest.importorskip("viser", reason="needs the extra view")
TOKEN = "4f9a11c2e8"


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def opened_socket(port, origin, headers=None):
    from websockets.sync.client import connect

    version = [f"viser-v{viser.__version__}"]
    return connect(f"ws://127.0.0.1:{port}", origin=origin, subprotocols=version, additional_headers=headers)


def refused(port, origin, headers=None):
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus) as error:
        opened_socket(port, origin, headers)
    return error.value.response.status_code


def test_the_own_page_connects_and_others_do_not(port, capsys):
    with serving(Gate(port=port), "test"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
            assert b"<html" in page.read(2000).lower()
            assert page.headers["X-Frame-Options"] == "DENY"
        with opened_socket(port, f"http://127.0.0.1:{port}") as connection:
            assert connection.recv(timeout=20)
        assert refused(port, "http://evil.example") == 403
        assert refused(port, None) == 403
    assert capsys.readouterr().out == ""


def test_a_token_is_asked_for_and_remembered(port):
    with serving(Gate(port=port, token=TOKEN), "test"):
        with pytest.raises(urllib.error.HTTPError, match="403") as error:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/")
        assert "token" in error.value.read().decode()
        origin = f"http://127.0.0.1:{port}"
        assert refused(port, origin) == 403
        with urllib.request.urlopen(f"{origin}/?token={TOKEN}") as page:
            cookie = page.headers["Set-Cookie"].partition(";")[0]
        with opened_socket(port, origin, {"Cookie": cookie}) as connection:
            assert connection.recv(timeout=20)


def test_a_port_in_use_is_said_in_one_sentence(port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        words = rf"Port {port} of 127.0.0.1 is in use.*--port"
        with pytest.raises(ResourceError, match=words), serving(Gate(port=port), ""):
            pass


def test_an_address_of_another_machine_is_said_in_one_sentence(port):
    gate = Gate("203.0.113.7", port, TOKEN)
    with pytest.raises(ResourceError, match=r"203\.0\.113\.7"), serving(gate, ""):
        pass


def test_a_browser_gone_in_the_middle_of_a_handshake_is_no_event_and_other_servers_keep_their_log(port, caplog, capfd):
    others = logging.getLogger("websockets.server")
    level, handshake = others.level, b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgr" % port
    with serving(Gate(port=port), "test"), caplog.at_level(logging.INFO):
        with socket.create_connection(("127.0.0.1", port)) as cut:
            cut.sendall(handshake)
            cut.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert cut.recv(1) == b""  # the server is done with it
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
            assert page.status == 200
        assert others.level == level
    assert [record.getMessage() for record in caplog.records if "handshake" in record.getMessage()] == []
    assert capfd.readouterr().err == ""


def test_the_port_is_free_again_afterwards(port):
    for _ in range(2):
        with serving(Gate(port=port), ""):
            pass


def test_without_viser_the_line_that_installs_it(port, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "viser", None)
    with pytest.raises(ResourceError, match=r'pip install "onefield\[view\]"'), serving(Gate(port=port), ""):
        pass


def test_a_viser_that_starts_otherwise_is_not_left_open(port, monkeypatch):
    monkeypatch.setattr(viser, "ViserServer", lambda **options: None)
    with pytest.raises(ResourceError, match="origins"), serving(Gate(port=port), ""):
        pass
