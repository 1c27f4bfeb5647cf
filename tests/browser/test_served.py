"""The same page behind a web server, as a report in a bucket is read."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from selenium.webdriver import Chrome

from tests.browser.conftest import Page
from tests.reports import Made


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Served(Made):
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/index.html"


@pytest.fixture
def served(made: Made) -> Iterator[Served]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(made.folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Served(made.folder, made.scores, server.server_port)
    server.shutdown()
    server.server_close()


def test_the_page_works_from_a_web_server_too(driver: Chrome, served: Served) -> None:
    page = Page(driver, served)
    page.open("#images")
    page.js("document.querySelector('#tiles a').click()")
    page.wait("return view() === 'image' && byId('outlines').children.length > 0")
    page.wait("return ['original', 'heat'].every((id) => byId(id).complete && byId(id).naturalWidth > 0)")
    page.wait("return [...document.querySelectorAll('#evidence img')].every((crop) => crop.naturalWidth > 0)")
    page.press("d")
    page.open("")
    assert page.text("#marked") == "1 marked"
    page.js("localStorage.clear()")
    assert page.complaints() == []
