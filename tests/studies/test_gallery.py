"""The gallery shows every picture once, with the line that draws it from its tables."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from hsutils.config import CHECKOUT
from hsutils.errors import InputError
from hsutils.studies.gallery import STUDIES, figure, pictures

PAGE = CHECKOUT / "docs/gallery.md"
TEXT = PAGE.read_text(encoding="utf-8")
CARDS = [card.partition("</table>")[0] for card in TEXT.split("<table>")[1:]]
CALL = re.compile(r'^figure\("([\w-]+)", "([\w-]+)"\)$', re.MULTILINE)


@cache
def pictures_of(study: str) -> dict:
    return pictures(STUDIES[study], CHECKOUT / f"figures/{study}")


def drawn(svg: Path) -> tuple[list[str], np.ndarray]:
    """The words of a picture and the coordinates of its marks."""
    text = svg.read_text(encoding="utf-8").partition("</metadata>")[2]
    places = " ".join(re.findall(r' (?:d|x|y|width|height)="([^"]*)"', text))
    return re.findall("<!-- (.*?) -->", text), np.array(re.findall(r"-?[\d.]+", places), float)


def test_every_picture_has_one_card_with_its_line():
    shown = [re.findall(r"!\[.{20,}\]\(\.\./(.+)\)", card) for card in CARDS]
    calls = [CALL.findall(card) for card in CARDS]
    assert [[f"figures/{study}/{name}.png" for study, name in found] for found in calls] == shown
    pictures = [p.relative_to(CHECKOUT).as_posix() for p in CHECKOUT.glob("figures/**/*.png")]
    assert sorted(pictures) == sorted(picture for (picture,) in shown)


def test_every_card_names_what_its_picture_is_drawn_from():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert [link for link in links if not (PAGE.parent / link).is_file()] == []
    for card in CARDS:
        assert re.search(r"^Drawn from \[.+\]\(.+\)\. As \[SVG\]", card, re.MULTILINE)


@pytest.mark.parametrize(("study", "name"), CALL.findall("".join(CARDS)))
def test_its_line_draws_the_committed_picture(study, name, tmp_path):
    made = figure(study, name) if name == "probe" else pictures_of(study)[name]()
    made.savefig(tmp_path / "fresh.svg")
    words, places = drawn(tmp_path / "fresh.svg")
    expected, at = drawn(CHECKOUT / f"figures/{study}/{name}.svg")
    assert words == expected and len(words) > 5
    np.testing.assert_allclose(places, at, atol=0.05)


@pytest.mark.parametrize(
    ("study", "name", "message"),
    [
        ("truth", "probe", "the studies are reproduction, trust, unseen, beats, external"),
        ("beats", "x", "no figure beats, x: the figures of beats are beats"),
    ],
)
def test_an_unknown_name_is_one_line_that_lists_what_there_is(study, name, message):
    with pytest.raises(InputError, match=message) as error:
        figure(study, name)
    assert "\n" not in str(error.value)


def test_a_missing_table_is_named_with_advice_that_a_line_of_python_can_follow(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("hsutils.studies.gallery.PROJECT", tmp_path)
    with pytest.raises(InputError, match=r"figures/trust/cases\.csv: .*run the study") as error:
        figure("trust", "probe")
    assert "--" not in str(error.value)
