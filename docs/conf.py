"""The book: Sphinx reads the repository where it lies, so every link leads where it does there."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

import latex2mathml.converter
from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.logging import getLogger

EDITION = "figures/edition"
OPEN = re.compile(r"\[the notebook\]\(\.\./\.\./(notebooks/[^)]+)\)")
PROMPTS = ("code_prompt_show", "code_prompt_hide")
FOLDED = {"setup": "Imports and versions", "solution": "Solution"}

project = "Heart sounds"
author = "The hsutils authors"
copyright = "The hsutils authors (MIT). Recordings: PhysioNet/CinC Challenge 2016 (ODC-BY 1.0)"
html_title = "Heart sounds: teacher, student, baseline"

extensions = ["myst_nb", "sphinx_codeautolink", "sphinx_design", "sphinxcontrib.bibtex"]
extensions += [f"sphinx.ext.{each}" for each in ("autodoc", "autosummary", "napoleon", "viewcode")]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "figures/README.md", "figures/*/README.md"]
include_patterns += [f"{EDITION}/*.ipynb", "hsutils/clips/README.md", "notebooks/README.md"]
exclude_patterns = [".*", "cache", "data", "runs", "evaluation", "tests", "docs/_*"]
bibtex_bibfiles = ["references.bib"]
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!hsutils\.).*")]  # other packages have their own pages

# Pages
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
numfig = True
numfig_format = {"figure": "Figure %s."}

# Functions
codeautolink_concat_default = True
autodoc_default_options = {"members": True, "member-order": "bysource", "exclude-members": "set"}
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_use_rtype = False
default_role = "py:obj"
add_module_names = False

# Look
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_extra_path = ["index.html"]
html_copy_source = False
html_math_renderer = "mathml"
html_theme_options = {
    "logo": {"text": "Heart sounds"},
    "header_links_before_dropdown": 7,
    "navbar_persistent": ["search-button"],
    "collapse_navigation": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {root_doc: [], "docs/references": [], "notebooks/README": []}


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Notebooks lead to chapters; imports and solutions are folded."""
    if not docname.startswith(EDITION):
        up, folder = ("../", "") if docname.startswith("notebooks/") else ("", "notebooks/")
        link = rf"(\]\((?:\.\./)*){folder}(\w+\.ipynb)"
        source[0] = re.sub(link, rf"\1{up}{EDITION}/\2", source[0])
        source[0] = re.sub(rf"(\]\((?:\.\./)*){EDITION}/?\)", r"\1docs/chapters.md)", source[0])
        # To open a notebook leads where to read it leads.
        source[0] = re.sub(r" · \[open\]\([^)]+\)", "", source[0])
        return
    notebook = json.loads(OPEN.sub(r"`\1`", source[0]))
    for cell in notebook["cells"]:
        tags = cell["metadata"].setdefault("tags", [])
        for each in FOLDED.keys() & {cell["id"], *tags}:
            tags.append("hide-cell")
            cell["metadata"]["mystnb"] = dict.fromkeys(PROMPTS, FOLDED[each])
    source[0] = json.dumps(notebook)


def shape(app: Sphinx, doctree: nodes.document) -> None:
    """Caption the figures of a chapter; lead links to modules and glossary to their pages."""
    for link in list(doctree.findall(addnodes.download_reference)):
        path = Path(app.env.relfn2path(link["reftarget"])[0])
        if path.suffix == ".py" and path.parts[0] == "hsutils":
            to = {"refdomain": "py", "reftype": "mod", "reftarget": ".".join(path.parts)[:-3]}
            link.replace_self(addnodes.pending_xref("", *link.children, **to))
    for link in doctree.findall(addnodes.pending_xref):
        if link.get("reftargetid"):  # JupyterLab's anchors have capitals, GitHub's have not.
            link["reftargetid"] = link["reftargetid"].lower()
    if app.env.docname.startswith(EDITION):
        text = app.env.doc2path(app.env.docname).read_text(encoding="utf-8")
        caption_figures(doctree, json.loads(text)["cells"])


def caption_figures(doctree: nodes.document, cells: list[dict]) -> None:
    """Give each picture its title as caption and alternative text."""
    images = [i for i in doctree.findall(nodes.image) if i.parent.get("mime_type") == "image/png"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    for number, (image, picture) in enumerate(zip(images, pictures, strict=True), start=1):
        image["alt"] = picture["metadata"].get("image/png", {}).get("alt", "")
        if not image["alt"]:
            getLogger(__name__).warning("figure %d has no title", number, location=image)
        caption = nodes.caption("", image["alt"])
        figure = nodes.figure("", image.deepcopy(), caption, ids=[f"figure-{number}"])
        image.parent.parent.replace_self(figure)


def number_figures(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Figure 8.3 is the third of chapter 08, as in a printed book."""
    for docname, numbers in env.toc_fignumbers.items():
        chapter = re.match(rf"{EDITION}/(\d+)", docname)
        for place, figure in enumerate(numbers.get("figure", {}) if chapter else (), start=1):
            numbers["figure"][figure] = (int(chapter[1]), place)
    return []


def explain(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Show a term's explanation where the mouse rests on a link to the glossary."""
    sections = app.env.get_doctree(f"{EDITION}/glossary").findall(nodes.section)
    terms = {section["ids"][0]: section.children[1].astext() for section in sections}
    for link in doctree.findall(nodes.reference):
        page, _, anchor = link.get("refuri", "").partition("#")
        if page.endswith("glossary.html") and anchor in terms:
            link["reftitle"] = terms[anchor]


def name_downloads(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Save a table under its study's name, such as trust-results.csv; most are results.csv."""
    files = app.env.dlfiles.items()
    names = {str(to): "-".join(Path(file).parts[-2:]) for file, (_, to) in files}
    context["body"] = re.sub(
        r'download="" (href="[^"]*_downloads/([^"]+)")',
        lambda found: f'download="{names[unquote(found[2])]}" {found[1]}',
        context.get("body", ""),
    )


def clean(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document) -> None:
    """Take out what misleads a screen reader: a fold's second name, old roles, empty headings."""
    body = context.get("body", "").replace("<th></th>", "<td></td>")
    wrong = r' (aria-label="Toggle hidden content"|role="doc-biblioentry"|role="list")'
    context["body"] = re.sub(wrong, "", body)


def formula(display: str):
    """How a formula is written into a page: MathML, which browsers draw themselves."""

    def visit(self, node: nodes.Element) -> None:
        self.body.append(latex2mathml.converter.convert(node.astext(), display=display))
        raise nodes.SkipNode

    return visit, None


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.add_html_math_renderer("mathml", formula("inline"), formula("block"))
    app.add_lexer("csv", TextLexer)
    app.connect("source-read", read)
    app.connect("doctree-read", shape, priority=400)
    app.connect("env-get-updated", number_figures)
    app.connect("doctree-resolved", explain)
    app.connect("html-page-context", name_downloads)
    app.connect("html-page-context", clean)
