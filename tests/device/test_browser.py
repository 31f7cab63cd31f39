"""The local page in a real browser: what a person sees, presses and hears read out, on a desk and on a phone."""

import os
import shutil
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from device_entries import BODY
from test_mqtt import free_port, make_certificate, until
from test_page import PASSWORD, estimating, logged

from opticaldr.device.attend import Shutter
from opticaldr.device.audit import AuditLog
from opticaldr.device.delivery import Delivery
from opticaldr.device.ndjson import NdjsonFile
from opticaldr.device.settings import Page
from opticaldr.device.status import Facts, Status

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from opticaldr.device.page.login import hash_password  # noqa: E402
from opticaldr.device.page.server import PageServer  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
DESK, PHONE = {"width": 1180, "height": 900}, {"width": 390, "height": 844}

CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = numbers(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walk.nextNode());) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility() || node.closest('svg, noscript, :disabled')) continue;
    const [a, b] = [luminance(numbers(getComputedStyle(node).color)), luminance(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push(`${text.data.trim()}: ${ratio.toFixed(2)}`);
  }
  return faint;
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as play:
        quiet = ["--disable-background-networking", "--disable-component-update", "--disable-quic"]
        with play.chromium.launch(
            executable_path=CHROMIUM, args=[*quiet, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        ) as browser:
            yield browser


@pytest.fixture
def status(tmp_path, key):
    with AuditLog(tmp_path / "audit.ndjson", key) as log:
        file = Delivery(log, NdjsonFile(tmp_path / "estimates.ndjson"), tmp_path)
        yield Status(Facts("b" * 64, datetime.now(UTC), 60.0, "Research use only."), log, [file])


@contextmanager
def visit(browser, status, *, size=DESK, scheme="light", **settings):
    """A browser's tab on the page; nothing may go wrong in it, and it may ask nobody but the camera."""
    shutter, port = Shutter(wanted=False), free_port()
    page = Page(port=port, **settings)
    complaints, elsewhere = [], []
    with PageServer(page, status, shutter) as server:
        context = browser.new_context(viewport=size, color_scheme=scheme, ignore_https_errors=True)
        tab = context.new_page()
        tab.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda r: elsewhere.append(r.url) if not r.url.startswith(server.url) else None)
        tab.goto(server.url)
        yield tab, shutter
        assert complaints == []
        assert elsewhere == []
        context.close()


def test_an_estimate_appears_as_it_is_logged(browser, status):
    with visit(browser, status) as (tab, _):
        tab.get_by_role("button", name="I agree: open the shutter").wait_for()
        assert tab.locator("#estimate").text_content() == "–"
        estimating(status)
        playwright.expect(tab.locator("#estimate")).to_have_text(str(BODY["estimate"]))
        playwright.expect(tab.locator("#sigma")).to_have_text(f"± {BODY['sigma']}")
        playwright.expect(tab.locator("#pill")).to_have_text("Shutter open")
        assert tab.locator("#protections .holds").count() == 7
        assert tab.locator("#chart circle").count() == 1
        assert tab.locator("#head").text_content() == status.log.head
        status.take(status.log.append("estimate", BODY | {"quality": ["dark", "moving"]}))
        playwright.expect(tab.locator("#flags li")).to_have_text(["dark", "moving"])
        playwright.expect(tab.locator("#chart circle.flagged")).to_have_count(1)
        logged(status, "event", event="optics not in place", quality=[], interlock_margin=2.5)
        logged(status, "ended")
        playwright.expect(tab.locator("#shutter-text")).to_contain_text("optics not in place")
        assert tab.locator("#estimate").text_content() == "–"


def test_a_doubt_is_shown_while_it_lasts(browser, status):
    with visit(browser, status) as (tab, _):
        estimating(status)
        logged(status, "event", event="optics in doubt", quality=[], interlock_margin=0.4)
        playwright.expect(tab.locator("#lock")).to_have_text("In doubt")
        playwright.expect(tab.locator("#pill")).to_have_text("Optics in doubt")
        status.take(status.log.append("estimate", BODY))
        playwright.expect(tab.locator("#lock")).to_have_text("In place")
        playwright.expect(tab.locator("#pill")).to_have_text("Shutter open")


def test_a_sink_in_trouble_is_told_whole_on_a_phone(browser, status):
    away = (
        "https://fhir.clinic.example/a/rather/long/base/r4: its certificate is not trusted (unable to verify)"
    )
    file = status.deliveries[0]
    file._set_aside({"index": 3}, "422 the subject is not known here")
    file.trouble = away
    with visit(browser, status, size=PHONE) as (tab, _):
        told = tab.locator("#deliveries")
        playwright.expect(told).to_contain_text(away)
        playwright.expect(told).to_contain_text("422 the subject is not known here")
        assert tab.evaluate(
            "[...document.querySelectorAll('.scroll')].every(n => n.scrollWidth <= n.clientWidth)"
        )
        region = tab.get_by_role("region", name="Delivery queues")
        assert region.evaluate("n => n.scrollHeight <= n.clientHeight")


def test_the_button_asks_for_the_shutter_by_mouse_and_by_keyboard(browser, status):
    with visit(browser, status) as (tab, shutter):
        tab.get_by_role("button", name="I agree: open the shutter").click()
        until(lambda: shutter.wanted)
        estimating(status)
        close = tab.get_by_role("button", name="Close the shutter")
        close.focus()
        tab.keyboard.press("Enter")
        until(lambda: not shutter.wanted)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_it_can_be_read_and_read_out(browser, status, size, scheme):
    estimating(status)
    with visit(browser, status, size=size, scheme=scheme) as (tab, _):
        playwright.expect(tab.locator("#estimate")).to_have_text(str(BODY["estimate"]))
        time.sleep(0.3)  # colours change over 0.15 s
        assert tab.evaluate(CONTRAST) == []
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for role in ("main", "banner", "contentinfo"):
            assert tab.get_by_role(role).count() == 1
        assert tab.locator("html[lang=en]").count() == 1
        assert tab.get_by_role("heading", level=1).count() == 1
        assert tab.get_by_role("img").get_attribute("aria-labelledby") == "chart-title chart-text"
        unnamed = (
            "nodes => nodes.filter(n => !(n.textContent.trim() || n.ariaLabel || n.labels?.length)).length"
        )
        assert tab.locator("button, input, meter, summary").evaluate_all(unnamed) == 0
        assert tab.locator("img, video, canvas, picture, image").count() == 0
        for live in ("#estimate", "#shutter-text", "#lock"):
            assert tab.locator(live).evaluate("n => n.closest('[aria-live=polite]') !== null")
        sections = tab.locator("main > section")
        assert sections.count() == tab.get_by_role("region").filter(has=tab.locator("h2")).count() == 8
        low = tab.locator("#shutter").bounding_box()
        assert low["height"] >= 44  # a thumb


def test_a_lost_camera_is_said_aloud(browser, status):
    shutter, port = Shutter(wanted=False), free_port()
    context = browser.new_context()
    tab = context.new_page()
    with PageServer(Page(port=port), status, shutter) as server:
        tab.goto(server.url)
        tab.get_by_role("button", name="I agree").wait_for()
    playwright.expect(tab.get_by_role("alert")).to_contain_text("does not answer")
    playwright.expect(tab.locator("#pill")).to_have_text("No connection")
    with PageServer(Page(port=port), status, shutter):
        playwright.expect(tab.locator("#pill")).to_have_text("Shutter closed", timeout=15000)
        playwright.expect(tab.locator("#alarm")).to_be_hidden()
    context.close()


def test_logging_in_and_out(browser, status, tmp_path):
    make_certificate(tmp_path / "page")
    (tmp_path / "password").write_text(hash_password(PASSWORD))
    (tmp_path / "password").chmod(0o600)
    files = {"certificate_file": tmp_path / "page.pem", "key_file": tmp_path / "page.key"}
    with visit(browser, status, password_file=tmp_path / "password", **files) as (tab, shutter):
        assert tab.url.endswith("/login")
        tab.get_by_label("Password").fill(PASSWORD)
        tab.get_by_role("button", name="Log in").click()
        tab.get_by_role("button", name="I agree: open the shutter").click()
        until(lambda: shutter.wanted)
        assert tab.evaluate("document.cookie") == ""
        tab.get_by_role("button", name="Log out").click()
        tab.get_by_label("Password").wait_for()
