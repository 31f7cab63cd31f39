"""Serve the local page from a thread of voice."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

import uvicorn

from opticaldr.device.attend import Shutter
from opticaldr.device.page.app import application
from opticaldr.device.page.login import Login
from opticaldr.device.settings import Page, read_secret
from opticaldr.device.status import Status
from opticaldr.device.tls import server_context
from opticaldr.errors import Refusal


class PageServer:
    """A context manager.

    Attributes:
        url: where the page is.

    Raises:
        Refusal: on entering: the port is in use, or a file does not work.
    """

    def __init__(self, page: Page, status: Status, shutter: Shutter) -> None:
        self._page = page
        secure = page.certificate_file is not None
        self.url = f"{'https' if secure else 'http'}://{page.host}:{page.port}/"
        if page.certificate_file and page.key_file:
            server_context(page.certificate_file, page.key_file)
        login = Login(read_secret(page.password_file)) if page.password_file else None
        self._server: uvicorn.Server | None = None
        app = application(
            status, shutter, self._over, login=login, names=(page.host, *page.names), secure=secure
        )
        self._config = uvicorn.Config(
            app,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            limit_concurrency=64,
            timeout_graceful_shutdown=2,
            ssl_certfile=page.certificate_file,
            ssl_keyfile=page.key_file,
        )

    def __enter__(self) -> Self:
        self._listener = self._bind()
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, name="page", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(5.0)
        self._listener.close()

    def _over(self) -> bool:
        return self._server is None or self._server.should_exit

    def _bind(self) -> socket.socket:
        host, port = self._page.host, self._page.port
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            listener = socket.socket(family)
        except OSError as fault:
            raise Refusal(
                f"the page cannot listen on {host} ({fault.strerror})", "set host under [page]"
            ) from None
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(64)
        except OSError as fault:
            listener.close()
            what = f"the page cannot listen on {host}:{port} ({(fault.strerror or str(fault)).lower()})"
            raise Refusal(what, "stop what uses it, or set another port under [page]") from None
        return listener
