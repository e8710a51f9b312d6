"""Every notebook in JupyterLab in a real browser, on a finished run: it draws and sounds."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import soundfile
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from hsutils.runner import series as notebooks

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

MINUTE = 60_000  # milliseconds
PATIENCE = 5 * MINUTE  # for a whole notebook, on a busy machine
ANSWER = 10.0  # seconds from a control to its new picture, at most; an idle machine needs 0.3
EXPECTED_NOISE = ()
"""What JupyterLab itself says to the console as errors."""

RUN_ALL = """async () => {
    const {commands, shell} = window.jupyterapp;
    await shell.currentWidget.sessionContext.ready;
    await shell.currentWidget.sessionContext.session.kernel.info;
    await commands.execute('notebook:run-all-cells');
}"""
CELLS = "() => window.jupyterapp.shell.currentWidget.content.widgets.map(c => c.model.toJSON())"
GO_TO = """async i => {
    const {content} = window.jupyterapp.shell.currentWidget;
    content.activeCellIndex = i;
    await content.scrollToItem(i, 'start');
}"""
WITHOUT_CONTROLS = """i => JSON.stringify(
    window.jupyterapp.shell.currentWidget.content.widgets[i].model.toJSON().outputs
    .filter(o => !('application/vnd.jupyter.widget-view+json' in (o.data || {}))))"""
CHANGED = f"([i, before]) => ({WITHOUT_CONTROLS})(i) !== before"
IS_CUT = "label => label.scrollWidth > label.clientWidth"
PLAYS = "audio => audio.play().then(() => true)"
HAS_PLAYED = "audio => audio.currentTime > 0.2"


@pytest.fixture(scope="module")
def lab(series, tmp_path_factory) -> Iterator[str]:
    """The address of a JupyterLab on copies of the notebooks that use the finished run."""
    place = tmp_path_factory.mktemp("lab")
    given = {"profile": "small", "run_dir": str(series.folder), "overrides": series.overrides}
    for path in notebooks():
        notebook = parameterize_notebook(load_notebook_node(str(path)), given)
        nbformat.write(notebook, place / path.name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    line += [f"--ServerApp.root_dir={place}", "--LabApp.expose_app_in_browser=True"]
    line += ["--IdentityProvider.token=", "--ServerApp.password="]
    own = {f"JUPYTERLAB_{name}_DIR": str(place / name) for name in ("SETTINGS", "WORKSPACES")}
    with (place / "log").open("w") as log:
        server = subprocess.Popen(line, env=os.environ | own, stdout=log, stderr=log)
        try:
            while server.poll() is None:
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/lab"
        finally:
            server.terminate()
            server.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator["api.Browser"]:
    flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(lab, browser) -> Iterator["api.Page"]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(MINUTE)
    yield page
    page.evaluate("() => window.jupyterapp.commands.execute('kernelmenu:shutdown')")
    page.close()


@pytest.mark.parametrize("name", [path.name for path in notebooks()])
def test_a_notebook_runs_and_its_controls_and_sounds_answer(name, page, lab, tmp_path):
    noise = []
    page.on("console", lambda message: noise.append(message.text) if message.type == "error" else 0)
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.goto(f"{lab}/tree/{name}?reset")
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext")
    page.set_default_timeout(PATIENCE)
    page.evaluate(RUN_ALL)
    page.set_default_timeout(MINUTE)
    cells = page.evaluate(CELLS)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert [o["evalue"] for o in outputs if o["output_type"] == "error"] == []
    assert all(cell["execution_count"] for cell in code if cell["source"])
    assert [o["text"] for o in outputs if o.get("name") == "stderr"] == []
    for number, cell in enumerate(cells):
        if "widget-view" in str(cell.get("outputs")):
            page.evaluate(GO_TO, number)
            seconds = answers(page, number, tmp_path)
            print(f"{name}, cell {number}:", *(f"{each * 1000:.0f} ms" for each in seconds))
            assert max(seconds[1:], default=0) < ANSWER
        elif "\nexplore" in f"\n{text(cell)}":
            pytest.fail(f"cell {number} shows no controls")
    sounding = [n for n, cell in enumerate(cells) if "<audio" in str(cell.get("outputs"))]
    if "players(" in "".join(map(text, code)):
        page.evaluate(GO_TO, sounding[0])
        player = page.locator("audio").first
        player.scroll_into_view_if_needed()
        assert player.evaluate(PLAYS)
        page.wait_for_function(HAS_PLAYED, arg=player.element_handle())
    assert [line for line in noise if not line.startswith(EXPECTED_NOISE)] == []


def text(cell: dict) -> str:
    return "".join(cell["source"])


def answers(page: "api.Page", number: int, folder: Path) -> list[float]:
    """Move every control of one cell; the seconds until what the cell shows has changed."""
    cell, seconds = page.locator(".jp-Notebook .jp-Cell").nth(number), []
    cell.locator(".widget-vbox").wait_for()
    controls = cell.locator(".widget-vbox .widget-inline-hbox, .widget-upload")
    for control in controls.all():
        for label in control.locator(".widget-label").all():
            assert not label.evaluate(IS_CUT), f"{label.inner_text()} is cut"
        before, started = page.evaluate(WITHOUT_CONTROLS, number), time.perf_counter()
        move(control, folder)
        page.wait_for_function(CHANGED, arg=[number, before])
        seconds.append(time.perf_counter() - started)
    return seconds


def move(control: "api.Locator", folder: Path) -> None:
    """Set a slider to an end, a menu to another entry; upload a recording; press a button."""
    slider, menu = control.locator(".noUi-handle"), control.locator("select")
    upload = control.locator("input[type=file]")
    if slider.count():
        at_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
        slider.press("Home" if at_end else "End")
    elif menu.count():
        entries = menu.locator("option").count()
        menu.select_option(index=entries - 1 - menu.evaluate("menu => menu.selectedIndex"))
    elif upload.count():
        soundfile.write(folder / "own.wav", [0.1, -0.1] * 8_000, 2_000)
        upload.set_input_files(folder / "own.wav")
    else:
        control.locator("input, button").first.click()
