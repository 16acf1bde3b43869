"""The page in a real browser without a screen: upload, result, keyboard, a narrow screen, no request to elsewhere.

Screenshots stay in the folder that PHENOLIP_SCREENSHOTS names, for people to look at.
"""

import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra demo")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, with the system's Chromium")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium from the system's package manager"),
]
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(params=[(1200, 1000), (360, 740)], ids=["wide", "narrow"])
def page(request, browser, address):
    tab = browser.new_page(viewport=dict(zip(("width", "height"), request.param, strict=True)))
    tab.set_default_timeout(WAIT_MS)
    tab.elsewhere = []
    tab.on("request", lambda sent: tab.elsewhere.append(sent.url) if _is_elsewhere(sent.url, address) else None)
    tab.goto(address)
    tab.wait_for_selector("#rank")
    tab.kind = request.node.callspec.id
    yield tab
    tab.close()


def _is_elsewhere(url, address):
    return not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))


def _keep(tab, name):
    if folder := os.environ.get("PHENOLIP_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=Path(folder) / f"{name}_{tab.kind}.png", full_page=True)


def test_upload_and_result(page, pairs):
    page.set_input_files("#image input[type=file]", pairs / "0.png")
    page.wait_for_selector("#image img")
    page.click("#rank")
    page.wait_for_selector("#ranked .ph-bars li")
    page.wait_for_selector("#heat img")
    assert page.inner_text("#ranked").count("%") == 2
    assert "not for diagnosis" in page.inner_text("body")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"], "the page must not scroll sideways"
    _keep(page, "result")
    assert page.elsewhere == []


def test_keyboard_alone(page):
    """From an example to its result with Tab and Enter."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#rank') !== null || document.activeElement.id === 'rank'"):
            break
    else:
        pytest.fail("Tab does not reach the button")
    page.keyboard.press("Enter")  # without an image: one sentence
    assert page.wait_for_selector("text=Choose an image first").is_visible()
    _keep(page, "error")


def test_search_and_tree(page):
    page.get_by_role("tab", name="Text").click()
    page.fill("#query textarea, #query input", "Cataract")
    page.keyboard.press("Enter")
    assert page.wait_for_selector("text=Number 0.").is_visible()
    _keep(page, "search")
    page.get_by_role("tab", name="Tree").click()
    page.wait_for_selector("#children label")
    page.locator("#children input").first.focus()
    page.keyboard.press("Space")
    assert page.wait_for_selector("text=with the term itself: 0.").is_visible()
    page.wait_for_timeout(1500)
    _keep(page, "tree")
