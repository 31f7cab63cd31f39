"""The routes of the local page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Body, FastAPI, Request
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    StreamingResponse,
)
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from opticaldr.device.attend import Shutter
from opticaldr.device.metrics import MEDIA_TYPE, exposition
from opticaldr.device.page.door import COOKIE, Door, token_of
from opticaldr.device.page.login import SESSION, Login, TooMany
from opticaldr.device.status import Status

_TICK, _AT_LEAST_EVERY = 0.25, 5.0  # seconds
_MOST_LISTENERS = 16
_LONGEST_FORM = 4096  # bytes


def application(
    status: Status,
    shutter: Shutter,
    over: Callable[[], bool],
    *,
    login: Login | None = None,
    names: tuple[str, ...] = (),
    secure: bool = False,
) -> FastAPI:
    """The page as an ASGI application.

    Args:
        status: what it shows.
        shutter: what its button asks.
        over: whether open streams are to end.
        login, names, secure: see `opticaldr.device.page.door.Door`.
    """
    app = FastAPI(title="OpticalDR", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Door, login=login, names=names, secure=secure)
    listeners = 0

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(_file("page.html").replace("{logout}", _LOGOUT if login else ""))

    @app.get("/page.css")
    def style() -> Response:
        return Response(_file("page.css"), media_type="text/css")

    @app.get("/page.js")
    def script() -> Response:
        return Response(_file("page.js"), media_type="text/javascript")

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    @app.get("/status")
    def state() -> JSONResponse:
        return JSONResponse(status.snapshot() | {"wanted": shutter.wanted})

    @app.get("/metrics")
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(exposition(status.snapshot()), media_type=MEDIA_TYPE)

    @app.get("/events")
    def events() -> Response:
        if listeners >= _MOST_LISTENERS:
            return PlainTextResponse("Too many are looking already.\n", 503, {"Retry-After": "10"})
        return StreamingResponse(stream(), media_type="text/event-stream")

    async def stream() -> AsyncIterator[str]:
        """Server-sent events: the whole state at every change, and every few seconds without one."""
        nonlocal listeners
        listeners += 1
        shown, silent = None, 0.0
        try:
            while not over():
                current = (status.version, shutter.wanted, [d.waiting for d in status.deliveries])
                if current != shown or silent >= _AT_LEAST_EVERY:
                    shown, silent = current, 0.0
                    yield f"data: {json.dumps(status.snapshot() | {'wanted': shutter.wanted})}\n\n"
                await asyncio.sleep(_TICK)
                silent += _TICK
        finally:
            listeners -= 1

    @app.post("/shutter")
    def ask(opened: Annotated[bool, Body(embed=True, strict=True)]) -> JSONResponse:
        shutter.ask(opened=opened)
        return JSONResponse({"wanted": opened})

    if login is not None:
        _add_login(app, login)
    return app


def _add_login(app: FastAPI, login: Login) -> None:
    @app.get("/login")
    def form() -> HTMLResponse:
        return _login_form("")

    @app.post("/login")
    async def enter(request: Request) -> Response:
        place = request.client.host if request.client else ""
        password = await _password(request)
        try:
            token = await run_in_threadpool(login.attempt, place, password)
        except TooMany as wait:
            answer: Response = _login_form(f"Too many attempts: wait {wait.seconds:.0f} seconds.", 429)
            answer.headers["Retry-After"] = f"{wait.seconds:.0f}"
            return answer
        if token is None:
            return _login_form("That is not the password.", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, token, max_age=int(SESSION), secure=True, httponly=True, samesite="strict")
        return answer

    @app.post("/logout")
    def leave(request: Request) -> Response:
        login.forget(token_of(request.headers))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, secure=True, httponly=True, samesite="strict")
        return answer


async def _password(request: Request) -> str:
    """The password in a posted form; an empty one if the form is too long to hold one."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]


def _login_form(complaint: str, code: int = 200) -> HTMLResponse:
    return HTMLResponse(_file("login.html").replace("{complaint}", complaint), code)


_LOGOUT = '<form method="post" action="/logout"><button class="quiet">Log out</button></form>'


def _file(name: str) -> str:
    return (files("opticaldr.device.page") / name).read_text(encoding="utf-8")
