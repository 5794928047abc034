"""Opening the web server that draws the page, behind the gate."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import socket
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from onefield.errors import ResourceError
from onefield.extras import extra_library
from onefield.viewing.gate import Gate

if TYPE_CHECKING:
    import viser
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response


@contextlib.contextmanager
def serving(gate: Gate, title: str) -> Iterator[viser.ViserServer]:
    """A page at the gate's address while the context lasts.

    Args:
        title: shown above the page's controls.

    Raises:
        UsageError: the gate's rule can't be kept.
        ResourceError: the extra is missing, the port is in use, or the address is not this machine's.
    """
    gate.check()
    viser = extra_library("viser", "view", "The viewer")
    with _listening(gate) as listener:
        # viser reports to stdout, where only the command's result belongs
        with _gate_before_handshakes(gate, listener), contextlib.redirect_stdout(io.StringIO()):
            server = viser.ViserServer(host=gate.host, port=gate.port, label=title, verbose=False)
        try:
            server.gui.configure_theme(show_logo=False, show_share_button=False)
            server.gui.main_panel.dock_right()
            yield server
        finally:
            with contextlib.redirect_stdout(io.StringIO()):
                server.stop()


@contextlib.contextmanager
def _listening(gate: Gate) -> Iterator[socket.socket]:
    """A bound socket: viser by itself would go on to the next free port without a word."""
    family = socket.AF_INET6 if ":" in gate.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        if os.name == "posix":
            # a viewer that has just closed leaves its port reserved for a minute; elsewhere the option would share it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((gate.host, gate.port))
            listener.listen()
        except OSError as error:
            raise ResourceError(_explain(gate, error)) from error
        yield listener


def _explain(gate: Gate, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {gate.port} of {gate.host} is in use; choose another with --port {gate.port + 1}."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Port {gate.port} may not be opened by this user; choose one above 1023 with --port."
    return f"{gate.host} is no address that this machine can listen on ({error.strerror or error}); leave --host out."


@contextlib.contextmanager
def _gate_before_handshakes(gate: Gate, listener: socket.socket) -> Iterator[None]:
    """Puts the gate before every request of the server that is started within the context.

    viser has no setting for it, so its one call of ``websockets.asyncio.server.serve`` is answered by a serve that asks
    the gate first. Should a later viser start otherwise, the server is refused rather than left open.

    Raises:
        ResourceError: this viser can't be guarded.
    """
    import websockets.asyncio.server as library

    serve, guarded = library.serve, []
    # a browser that leaves in the middle of a handshake is no event for the terminal; other servers keep their logger
    logger = logging.getLogger("onefield.viewing.sockets")
    logger.setLevel(logging.CRITICAL)

    def serve_behind_gate(
        handler: Any,
        host: str,
        port: int,
        *,
        max_size: int,
        compression: str | None,
        process_request: Any,
        subprotocols: Any,
        select_subprotocol: Any,
    ) -> Any:
        guarded.append(True)
        return serve(
            handler,
            sock=listener,
            max_size=max_size,
            compression=compression,
            process_request=_asking(gate, process_request),
            subprotocols=subprotocols,
            select_subprotocol=select_subprotocol,
            logger=logger,
        )

    library.serve = serve_behind_gate
    try:
        yield
    finally:
        library.serve = serve
    if not guarded:
        raise ResourceError("This version of viser can't be kept from pages of other origins; install viser 1.1.")


def _asking(gate: Gate, answer: Any) -> Any:
    """A handler of requests that lets those that the gate does not refuse go on to ``answer``."""

    def process(connection: ServerConnection, request: Request) -> Response | None:
        headers = request.headers
        is_socket = any("websocket" in value.lower() for value in headers.get_all("Upgrade"))
        refusal = gate.refusal(
            request.path, headers.get_all("Host"), headers.get_all("Origin"), headers.get_all("Cookie"), is_socket
        )
        if refusal is not None:
            return connection.respond(HTTPStatus.FORBIDDEN, refusal + "\n")
        response = answer(connection, request)
        if response is not None:
            # nobody may frame the page and have its buttons clicked
            response.headers["X-Frame-Options"] = "DENY"
            if gate.cookie is not None:
                response.headers["Set-Cookie"] = gate.cookie
        return response

    return process
