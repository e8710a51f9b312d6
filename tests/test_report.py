"""The report shows what the run folder holds, all of it, escaped, and nothing else."""

from html.parser import HTMLParser

import pandas as pd
import pytest

from hsutils import plots as figures
from hsutils.errors import InputError
from hsutils.files import write_csv, write_json, write_text
from hsutils.report import MOST_ROWS, is_synthetic, write_report

NASTY = "<script>alert('x')</script>"


class Elements(HTMLParser):
    """Collects start tags with attributes and checks that every element is closed."""

    def __init__(self, page: str):
        super().__init__()
        self.found, self.open = [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


@pytest.fixture
def run_dir(tmp_path):
    write_csv(tmp_path / "tables" / "table_1.csv", pd.DataFrame({"model": ["teacher", NASTY]}))
    write_csv(tmp_path / "tables" / "errors.csv", pd.DataFrame({"record": range(MOST_ROWS + 5)}))
    loss = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0]})
    figures.save_figure(figures.loss_by_epoch(loss), tmp_path / "figures", "loss")
    write_json(tmp_path / "environment.json", {"versions": {"torch": "2.11.0"}, "note": NASTY})
    write_text(tmp_path / "experiment.toml", 'profile = "demo"\n[data]\nsource = "folder"\n')
    write_text(tmp_path / "notebooks" / "01 data.ipynb", "{}")
    return tmp_path


def page_of(folder) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def test_page_is_well_formed_and_stands_alone(run_dir):
    elements = Elements(page_of(run_dir))
    assert not elements.all("script") and not elements.all("link")
    assert all(img["src"].startswith("data:image/png;base64,") for img in elements.all("img"))
    hrefs = [a["href"] for a in elements.all("a")]
    assert not any("//" in href for href in hrefs)
    files = [href for href in hrefs if not href.startswith("#")]
    assert files == ["tables/table_1.csv", "tables/errors.csv", "notebooks/01%20data.ipynb"]


def test_every_part_of_the_folder_is_on_the_page(run_dir):
    page = page_of(run_dir)
    for part in ("demo", "teacher", "versions.torch", "2.11.0", "data.source", "01 data.ipynb"):
        assert part in page
    assert f"first {MOST_ROWS} of {MOST_ROWS + 5} rows" in page


def test_figure_is_described_by_its_own_finding(run_dir):
    (image,) = Elements(page_of(run_dir)).all("img")
    assert image["alt"] == "Loss falls from 2 to 1 in 2 epochs"


def test_text_from_files_is_escaped(run_dir):
    page = page_of(run_dir)
    assert NASTY not in page
    assert page.count("&lt;script&gt;") == 2


def test_same_folder_gives_the_same_page(run_dir):
    assert page_of(run_dir) == page_of(run_dir)


def test_real_recordings_have_no_banner_and_synthetic_ones_do(run_dir):
    assert 'class="banner"' not in page_of(run_dir)
    write_text(run_dir / "experiment.toml", '[data]\nsource = "synthetic"\n')
    assert 'class="banner"' in page_of(run_dir)


def test_synthetic_is_said_by_value_or_by_flag_and_not_by_settings_of_that_name():
    assert is_synthetic({"data": {"synthetic": True}})
    assert is_synthetic({"data": {"source": "synthetic"}})
    assert not is_synthetic({"data": {"synthetic": False}})
    assert not is_synthetic({"synthetic": {"recordings": 1}})


def test_empty_folder_gives_a_page_with_its_name_alone(tmp_path):
    page = page_of(tmp_path)
    assert tmp_path.name in page
    assert "<section" not in page


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="missing is not a folder"):
        write_report(tmp_path / "missing")
