"""What every request to the page must pass, and what every answer carries."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opticaldr.device.page.login import Login

COOKIE = "__Host-opticaldr"
_OPEN = frozenset({"/login", "/page.css"})
_HEADERS = {
    # No image, no frame, no script but our own file: the browser keeps to it even if we did not.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'none'; media-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(), microphone=(), display-capture=(), geolocation=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Door:
    """ASGI middleware.

    * The request must name a host that we have, or another site could reach us under its own name (DNS
      rebinding).
    * What changes anything must come from our own page (``Origin``), or another site could ask in a
      visitor's name (CSRF).
    * With a password, everybody must have logged in; only metrics are told to this machine without.

    Args:
        app: what is behind the door.
        login: None where everybody on this machine may look.
        names: host names that we have, beside those of this machine.
        secure: whether it is reached over TLS.
    """

    def __init__(self, app: ASGIApp, login: Login | None, names: Iterable[str], *, secure: bool) -> None:
        self._app, self._login = app, login
        self._names = {"localhost", "127.0.0.1", "::1", *names}
        self._scheme = "https" if secure else "http"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer at the door."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if self._scheme == "https":
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, answer)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self._names:
            return PlainTextResponse("This camera has no such name.\n", 421)
        if scope["method"] not in ("GET", "HEAD") and headers.get("origin") != f"{self._scheme}://{host}":
            return PlainTextResponse("Ask on the camera's own page.\n", 403)
        path, here = scope["path"], _is_here(scope)
        if path == "/metrics":
            return None if here else PlainTextResponse("Metrics are for this machine.\n", 403)
        if self._login is None or path in _OPEN or self._login.knows(token_of(headers)):
            return None
        if path == "/":
            return RedirectResponse("/login", 303)
        return PlainTextResponse("Log in first.\n", 401)


def token_of(headers: Headers) -> str:
    """The session token in a request's cookies; empty if there is none."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie is not None else ""


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _is_here(scope: Scope) -> bool:
    client = scope.get("client")
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
