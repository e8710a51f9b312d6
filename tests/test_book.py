"""The book, built with chapters that were not run: links, figures, folds, and no network."""

import json
import pkgutil
import re
import shutil
import subprocess
import sys
from html import unescape

import pytest

import hsutils
from hsutils.config import CHECKOUT
from hsutils.files import write_text

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
FIGURE = {"data": {"image/png": DOT}, "metadata": {"image/png": {"alt": "A title"}}}
FIGURES = f'"outputs": {json.dumps([FIGURE | {"output_type": "display_data"}])}'
NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict:
    """Path -> text of every page, of which warnings would be errors; few functions, for speed."""
    root = tmp_path_factory.mktemp("book")
    unused = shutil.ignore_patterns("_build", "edition", "hsutils.*", "__pycache__", "*.ipynb")
    for name in ("docs", "figures", "hsutils", "notebooks"):
        shutil.copytree(CHECKOUT / name, root / name, ignore=unused)
    for path in (*CHECKOUT.glob("*.md"), CHECKOUT / "LICENSE", CHECKOUT / "CITATION.cff"):
        shutil.copy(path, root)
    index = root / "docs/api/index.rst"
    index.write_text(re.sub(r"\n   hsutils\.(?!models)\w+", "", index.read_text()))
    (root / "figures/edition").mkdir()
    for path in NOTEBOOKS:
        text = path.read_text().replace("](../", "](../../").replace('"outputs": []', FIGURES, 1)
        (root / "figures/edition" / path.name).write_text(text)
    build = "sphinx -qW --keep-going -D nitpicky=0 -c docs . site"
    command = [sys.executable, "-m", *build.split()]
    made = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    write_text(root / "site/slides/index.html", "made by make slides")
    return {path: path.read_text() for path in (root / "site").rglob("*.html")}


def test_every_link_leads_to_a_file_and_a_place_in_it_without_the_network(pages):
    lost, places = [], {page: re.findall(r'\bid="(.+?)"', text) for page, text in pages.items()}
    for page, text in pages.items():
        lost += re.findall(r'(?:<(?:script|img|iframe)[^>]*src|<link[^>]*href)="https?:.*?"', text)
        for link in map(unescape, re.findall(r'<a [^>]*?href="(?!\w+:)(.+?)"', text)):
            target, _, place = link.partition("#")
            path = (page.parent / target).resolve() if target else page
            if not path.exists() or (place and place not in places[path]):
                lost.append((page.name, link))
    assert lost == []


def test_a_chapter_numbers_figures_folds_solutions_and_leads_to_terms_and_functions(pages):
    chapter = next(text for page, text in pages.items() if page.name.startswith("03_"))
    assert 'alt="A title"' in chapter and re.search(r"Figure 3\.1\. ?</span>.*A title", chapter)
    assert len(re.findall(r"<details.*\n<summary>\n.*Solution", chapter)) == 3
    assert 'glossary.html#nt-xent" title="The loss of contrastive learning' in chapter
    assert chapter.count('api/hsutils.models.losses.html#hsutils.models.losses.nt_xent"') > 1
    assert chapter.count("<math") > 5
    wrong = ("Toggle hidden content", 'role="doc-biblioentry"', "<th></th>")
    assert [mark for mark in wrong if any(mark in text for text in pages.values())] == []


def test_a_table_is_saved_under_the_name_of_its_study(pages):
    gallery = next(text for page, text in pages.items() if page.name == "gallery.html")
    assert {"trust-results.csv", "unseen-results.csv"} <= set(re.findall('load="(.*?)"', gallery))
    assert not any('download=""' in text for text in pages.values())


def test_every_work_that_a_notebook_cites_is_in_the_references_once():
    works = (CHECKOUT / "docs/references.bib").read_text()
    known = re.findall(r"\{(?:https://)?((?:10\.|arxiv\.org).+)\}", works)
    link = r"https://(?:doi\.org/)?((?:10\.|arxiv\.org)[^)\s]+)\)"
    cited = {work for path in NOTEBOOKS for work in re.findall(link, path.read_text())}
    assert len(cited) > 20 and cited <= set(known) and len(set(known)) == len(known)


def test_every_module_has_a_page():
    listed = re.findall(r"\n   (hsutils\.\w+)", (CHECKOUT / "docs/api/index.rst").read_text())
    modules = {module.name for module in pkgutil.iter_modules(hsutils.__path__, "hsutils.")}
    assert modules - {"hsutils.__main__"} == set(listed)
