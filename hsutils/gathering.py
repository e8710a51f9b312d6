"""Commands that gather finished runs into tables and figures, or draw gathered ones again."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hsutils.options import add_experiment, overrides_of, seed_list, study_of

if TYPE_CHECKING:
    from hsutils.studies.study import Study

GATHERED = ("paper", "native", "native-all", "few", "few-2khz", "many", "many-2khz", "compact")
GATHERED += ("compact-many",)
"""The profiles that `beyond` gathers."""


def write_study(study: "Study", folder: Path) -> None:
    """Gathered tables and figures of a study, and the README's table."""
    from hsutils.studies import reproduction
    from hsutils.studies.evidence import Evidence, gather

    gathered = Evidence.read(gather(study).save(folder))
    reproduction.draw(gathered, folder)
    print(f"\n{reproduction.markdown(gathered)}\ntables and figures  {folder}")


def add_gather(parser: argparse.ArgumentParser) -> None:
    """Options of `gather`."""
    _add_gathering(parser, "seeds")
    parser.set_defaults(command=_gather)


def _add_gathering(parser: argparse.ArgumentParser, kind: str) -> None:
    """What every command that gathers finished runs understands."""
    add_experiment(parser)
    parser.add_argument("--seeds", type=seed_list, default=(0,), help="such as 0,1,2")
    parser.add_argument("--to", help=f"folder to write into; default RUN_DIR-{kind}")


def _gather(options: argparse.Namespace) -> None:
    study = study_of(options)
    write_study(study, Path(options.to) if options.to else study.folder("seeds"))


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Options of `trust`."""
    _add_gathering(parser, "trust")
    parser.set_defaults(command=_trust)


def _trust(options: argparse.Namespace) -> None:
    from hsutils.studies import trust_figures
    from hsutils.studies.trust import Trust, collect_study

    study = study_of(options)
    folder = Path(options.to) if options.to else study.folder("trust")
    kept = Trust.read(collect_study(study).save(folder))
    trust_figures.draw(kept, folder)
    trust_figures.draw_storage(kept, study.look(study.seeds[0]), folder)
    print(f"tables and figures  {folder}")


def add_beyond(parser: argparse.ArgumentParser) -> None:
    """Options of `beyond`."""
    _add_gathering(parser, "beyond")
    add = "keep what the folder holds already of runs that are not here"
    parser.add_argument("--add", action="store_true", help=add)
    # Here it may name several, with commas between.
    parser.set_defaults(command=_beyond, profile=",".join(GATHERED))


def _beyond(options: argparse.Namespace) -> None:
    from hsutils.studies.beyond import Beyond, collect
    from hsutils.studies.beyond_added import added
    from hsutils.studies.study import Study

    names = [name.strip() for name in options.profile.split(",")]
    overrides, base = tuple(overrides_of(options)), options.run_dir
    studies = [Study(n, options.seeds, overrides, f"{base}-{n}" if base else "") for n in names]
    folder = Path(options.to) if options.to else studies[0].folder("beyond")
    before = Beyond.read(folder) if options.add else None
    gathered = collect(studies)
    (added(before, gathered) if before else gathered).save(folder)
    _draw_beyond(folder)


def _draw_beyond(folder: Path) -> None:
    from hsutils.studies import beyond_figures, beyond_markdown, findings_beyond
    from hsutils.studies.beyond import Beyond
    from hsutils.studies.findings import read_tables

    print(*beyond_figures.draw(Beyond.read(folder), folder), "", sep="\n")
    made = read_tables(folder)
    print(beyond_markdown.recipe_table(made))
    print(findings_beyond.summary(made, findings_beyond.SHORT))
    print(beyond_markdown.published_table(made))


def add_card(parser: argparse.ArgumentParser) -> None:
    """Options of `card`."""
    parser.add_argument("--evidence", default="figures/reproduction", help="gathered by `gather`")
    parser.add_argument("--trust", default="figures/trust", help="gathered by `trust`")
    parser.add_argument("--to", default="MODEL_CARD.md", help="file to write")
    parser.set_defaults(command=_card)


def _card(options: argparse.Namespace) -> None:
    from hsutils.studies import findings
    from hsutils.studies.evidence import Evidence
    from hsutils.studies.model_card import write_model_card
    from hsutils.studies.trust import Trust

    kept = Evidence.read(options.evidence), Trust.read(options.trust)
    print(write_model_card(*kept, Path(options.to)))
    tables = findings.read_tables(Path(options.trust))
    if "heart_or_stethoscope" in tables:
        print(f"\nin the README:\n\n{findings.summary(tables)}")


def add_redraw(parser: argparse.ArgumentParser) -> None:
    """Options of `redraw`."""
    parser.add_argument("folder", help="folder with gathered evidence")
    parser.set_defaults(command=_redraw)


def _redraw(options: argparse.Namespace) -> None:
    from hsutils.studies import ablations, reproduction, trust_figures
    from hsutils.studies.evidence import Evidence
    from hsutils.studies.trust import Trust

    folder = Path(options.folder)
    if (folder / "inner.csv").is_file():
        _draw_beyond(folder)
        return
    if (folder / "cases.csv").is_file():
        print(*trust_figures.draw(Trust.read(folder), folder), sep="\n")
        return
    evidence = Evidence.read(folder)
    print(*reproduction.draw(evidence, folder), "", reproduction.markdown(evidence), sep="\n")
    if len(table := reproduction.tables(evidence)["ablations"]):
        print(ablations.markdown(table))
