"""Every notebook in JupyterLab in a real browser, on a finished run: it draws and sounds.

HSUTILS_BROWSER_TIMES names a CSV file that is to hold the seconds every control takes.
"""

import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
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

MINUTE, FREQUENTLY, ENTRY = 60_000, 50, 3_000  # milliseconds; ENTRY: for one entry of a menu
PATIENCE = 5 * MINUTE  # for a whole notebook, on a busy machine
ANSWER = 5.0  # seconds from a control to its new picture, on a busy machine; an idle one needs 0.4
EXPLORER = re.compile(r"^explore\w*\(", re.MULTILINE)

# Playwright itself would wait for a promise without end.
EXECUTE = """command => {
    const {commands, shell} = window.jupyterapp, {sessionContext} = shell.currentWidget;
    window.executed = false;
    sessionContext.ready
        .then(() => sessionContext.session?.kernel?.info)
        .then(() => commands.execute(command))
        .finally(() => { window.executed = true; });
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
# A control may still be replacing the player: it is looked up anew at every poll.
PLAYS = """() => {
    const audio = document.querySelector('.jp-Notebook audio');
    audio?.scrollIntoView({block: 'nearest'});
    audio?.play().catch(() => {});
    return audio?.currentTime > 0.2;
}"""


@pytest.fixture(scope="module")
def lab(series, tmp_path_factory) -> Iterator[str]:
    """The address of a JupyterLab on copies of the notebooks that use the finished run."""
    place = tmp_path_factory.mktemp("lab")
    (place / "notebooks").mkdir()
    given = {"profile": "small", "run_dir": str(series.folder), "overrides": series.overrides}
    for path in notebooks():
        notebook = parameterize_notebook(load_notebook_node(str(path)), given)
        nbformat.write(notebook, place / "notebooks" / path.name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    line += [f"--ServerApp.root_dir={place / 'notebooks'}", "--LabApp.expose_app_in_browser=True"]
    line += ["--IdentityProvider.token=", "--ServerApp.password="]
    own = ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    own = {name: str(place / name) for name in own}
    with (place / "log").open("w") as log:
        server = subprocess.Popen(line, env=os.environ | own, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + MINUTE / 1000
            while not answers_at(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"JupyterLab did not start:\n{(place / 'log').read_text()}")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/lab"
        finally:
            server.terminate()
            server.wait()


def answers_at(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


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
    execute(page, "kernelmenu:shutdown", MINUTE)
    page.close()


def execute(page: "api.Page", command: str, patience: int) -> None:
    """Let JupyterLab execute a command and wait until it has."""
    page.evaluate(EXECUTE, command)
    page.wait_for_function("() => window.executed", timeout=patience)


@pytest.mark.parametrize("name", [path.name for path in notebooks()])
def test_a_notebook_runs_and_its_controls_and_sounds_answer(name, page, lab, tmp_path):
    noise = []
    page.on("console", lambda message: noise.append(message.text) if message.type == "error" else 0)
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.goto(f"{lab}/tree/{name}?reset")
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext")
    execute(page, "notebook:run-all-cells", PATIENCE)
    cells = page.evaluate(CELLS)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert [o["evalue"] for o in outputs if o["output_type"] == "error"] == []
    assert all(cell["execution_count"] for cell in code if cell["source"])
    assert [o["text"] for o in outputs if o.get("name") == "stderr"] == []
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code" and EXPLORER.search(text(cell)):
            assert "widget-view" in str(cell["outputs"]), f"cell {number} shows no controls"
            page.evaluate(GO_TO, number)
            seconds = answers(page, number, tmp_path)
            write_times(name, number, seconds)
            assert max(seconds) < ANSWER
    sounding = [n for n, cell in enumerate(cells) if "<audio" in str(cell.get("outputs"))]
    assert sounding or "players(" not in "".join(map(text, code))
    if sounding:
        page.evaluate(GO_TO, sounding[0])
        page.wait_for_function(PLAYS)
    assert noise == []


def text(cell: dict) -> str:
    return "".join(cell["source"])


def write_times(name: str, number: int, seconds: list[float]) -> None:
    if file := os.environ.get("HSUTILS_BROWSER_TIMES"):
        with Path(file).open("a") as times:
            for control, each in enumerate(seconds):
                times.write(f"{name},{number},{control},{each:.3f}\n")


def answers(page: "api.Page", number: int, folder: Path) -> list[float]:
    """Move every control of one cell; the seconds until what the cell shows has changed."""
    cell, seconds = page.locator(".jp-Notebook .jp-Cell").nth(number), []
    cell.locator(".widget-vbox").first.wait_for()
    for control in cell.locator(".widget-inline-hbox, .widget-upload").all():
        for label in control.locator(".widget-label").all():
            assert not label.evaluate(IS_CUT), f"{label.inner_text()} is cut"
        menu, took = control.locator("select"), math.inf
        chosen = menu.evaluate("menu => menu.selectedIndex") if menu.count() else None
        *others, last = moves(page, control, chosen, folder)
        for move in (*others, last):
            patience = ANSWER * 1000 if move is last else ENTRY
            if (took := answer(page, number, move, patience)) < math.inf:
                break
        seconds.append(took)
        if chosen is not None:  # back, so that the next control finds something to change
            answer(page, number, partial(menu.select_option, index=chosen), ENTRY)
    return seconds


def answer(page: "api.Page", number: int, move: Callable[[], object], patience: float) -> float:
    """Seconds until a cell shows something else; infinite where it does not in time."""
    before, started = page.evaluate(WITHOUT_CONTROLS, number), time.perf_counter()
    move()
    try:
        page.wait_for_function(CHANGED, arg=[number, before], timeout=patience, polling=FREQUENTLY)
    except api.TimeoutError:
        return math.inf
    return time.perf_counter() - started


def moves(
    page: "api.Page", control: "api.Locator", chosen: int | None, folder: Path
) -> Iterator[Callable[[], object]]:
    """A slider goes to an end, a menu to each entry that is not chosen, a file is uploaded."""
    slider, menu = control.locator(".noUi-handle"), control.locator("select")
    if chosen is not None:
        for entry in sorted({*range(menu.locator("option").count())} - {chosen}, reverse=True):
            yield partial(menu.select_option, index=entry)  # some may find the same recording
    elif slider.count():
        at_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
        yield partial(slider.press, "Home" if at_end else "End")
    else:
        with page.expect_file_chooser() as chooser:
            control.click()
        soundfile.write(folder / "own.wav", [0.1, -0.1] * 8_000, 2_000)
        yield partial(chooser.value.set_files, folder / "own.wav")
