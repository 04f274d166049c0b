"""The site of the documents: it builds without a warning, asks nothing of other hosts, and can be searched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import chromium, needs_chromium

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built with warnings as errors: broken links and anchors, pages that are in no menu, unknown names."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site):
    loaded = re.compile(r'<(?:script|img|iframe|source)[^>]* src="([^"]+)"|<link[^>]* href="([^"]+)"')
    for page in site.rglob("*.html"):
        sources = ["".join(found) for found in loaded.findall(page.read_text(encoding="utf-8"))]
        assert not [one for one in sources if "//" in one], page


def test_no_link_leaves_the_site_for_the_sources(site):
    assert not [page for page in site.rglob("*.html") if "../src/" in page.read_text(encoding="utf-8")]


def test_the_reference_has_the_docstrings(site):
    page = (site / "reference" / "types" / "index.html").read_text(encoding="utf-8")
    assert 'id="antiphon.types.Completion.logprobs"' in page
    assert "blocked tokens masked" in page


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.mark.browser
@needs_chromium
def test_the_site_can_be_searched_and_asks_no_other_host(address):
    with chromium() as browser:
        page = browser.new_page()
        outside: list[str] = []
        page.on("request", lambda request: None if request.url.startswith(address) else outside.append(request.url))
        page.goto(address)
        page.click(".md-search__input")
        page.keyboard.type("alignment credit")
        found = page.locator(".md-search-result__link").first
        found.wait_for()
        found.click()
        page.wait_for_url(re.compile("/algorithms/"))
        assert page.title() == "Algorithms - antiphon"
        assert not [url for url in outside if not url.startswith(("data:", "blob:"))]
