"""A report stands alone: one file, nothing fetched, nothing unescaped, every picture described."""

from html.parser import HTMLParser

import numpy as np
import pytest

from opticaldr.artefacts import Report


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(tmp_path):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([0, 1])
    report = Report("PSF <1>", "What it is.")
    report.section("Shape").text("a < b & c").table(
        ["what", "value"], [["NCC", 0.98765432], ["n", 3]], "numbers"
    )
    report.figure(figure, "a line", "a rising line").image(
        np.zeros((4, 4, 3), np.uint8), "black", "a black square"
    )
    report.verdict(False, "SNR 3 is below 10.")
    report.write(tmp_path / "report.html")
    parser = Page()
    parser.feed((tmp_path / "report.html").read_text(encoding="utf-8"))
    return parser


def test_nothing_is_fetched(page):
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert all(tag not in ("script", "link", "iframe") for tag, _ in page.tags)


def test_text_is_escaped_and_numbers_are_rounded(page):
    assert "a < b & c" in page.text
    assert "0.9877" in page.text
    assert "Failed." in page.text
    assert "Research use only" in page.text


def test_every_picture_is_described(page):
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [p["alt"] for p in pictures] == ["a rising line", "a black square"]
