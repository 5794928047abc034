"""Who may speak to the viewer: pages that it served itself and, beyond this machine, those that carry the token."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from onefield.errors import UsageError

_THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")
# Long enough that nobody finds it by trying over a network.
_SHORTEST_TOKEN = 8
_PORTS = 1 << 16


@dataclass(frozen=True)
class Gate:
    """The rule for requests to one address.

    A page from elsewhere that runs in a browser on this machine can open a socket to the viewer, but can't hide where
    it comes from: the browser states it in ``Origin``. A name that someone points at this machine shows in ``Host``.

    Attributes:
        host: address that the viewer listens on; any but this machine's own needs a token.
        port: TCP port of the viewer.
        token: secret of eight or more letters and digits that the address of the page must carry.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None

    def check(self) -> None:
        """Says whether the rule can be kept.

        Raises:
            UsageError: other machines could look without a token, the token is weak, or there is no such port.
        """
        if not 0 < self.port < _PORTS:
            raise UsageError(f"--port {self.port} is no port; take one between 1024 and {_PORTS - 1}.")
        if self.token is None and not is_loopback(self.host):
            raise UsageError(
                f"--host {self.host} lets other machines see the viewer; give a secret by --token, or leave it out."
            )
        if self.token is not None and (len(self.token) < _SHORTEST_TOKEN or not self.token.isalnum()):
            raise UsageError(f"--token needs at least {_SHORTEST_TOKEN} letters and digits, nothing else.")

    @property
    def page(self) -> str:
        """The address to open."""
        host = "localhost" if self.host in ("0.0.0.0", "::") else _bracketed(self.host)
        return f"http://{host}:{self.port}/" + ("" if self.token is None else f"?token={self.token}")

    @property
    def cookie(self) -> str | None:
        """What a browser is given to remember the token by; other ports of this machine have other names."""
        if self.token is None:
            return None
        return f"{self._cookie_name}={self.token}; HttpOnly; SameSite=Strict; Path=/"

    def refusal(
        self, path: str, hosts: list[str], origins: list[str], cookies: list[str], is_socket: bool
    ) -> str | None:
        """Why a request is refused, in a sentence; None where it is welcome.

        Args:
            path: with its query.
            hosts, origins, cookies: values of the headers of these names.
            is_socket: whether it asks for a web socket, which only a page of the viewer's own may do.
        """
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return f"This viewer is at {self._own_names()[0]}, not where the request says; open that address."
        if is_socket and (len(origins) != 1 or origins[0] not in (f"http://{hosts[0]}", f"https://{hosts[0]}")):
            return "Only the viewer's own page may open this socket."
        if self.token is not None and not self._carried(path, cookies, is_socket):
            return "This viewer needs its token; open the address with ?token=... that was printed when it started."
        return None

    @property
    def _cookie_name(self) -> str:
        return f"onefield_{self.port}"

    def _own_names(self) -> tuple[str, ...]:
        names = (_bracketed(self.host), *_THIS_MACHINE)
        return tuple(f"{name}:{self.port}" for name in names)

    def _is_own(self, host: str) -> bool:
        # beyond this machine its names can't be known, and the token says enough
        return self.token is not None or host in self._own_names()

    def _carried(self, path: str, cookies: list[str], is_socket: bool) -> bool:
        found = [] if is_socket else parse_qs(urlsplit(path).query).get("token", [])
        try:
            jars = [SimpleCookie(text) for text in cookies]
        except CookieError:
            jars = []
        found += [jar[self._cookie_name].value for jar in jars if self._cookie_name in jar]
        return any(hmac.compare_digest(one.encode(), self.token.encode()) for one in found)


LOCAL = Gate()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
