"""The command line: python -m hsutils run | variants | gather | trust | redraw | fetch | ..."""

import argparse
import sys
from pathlib import Path

from hsutils.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run one command; 0, or 2 after a line that says what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m hsutils", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_run(commands.add_parser("run", help="run the whole series of notebooks, headless"))
    _add_variants(commands.add_parser("variants", help="train what the paper's recipe is held to"))
    _add_gather(commands.add_parser("gather", help="tables and figures over seeds and variants"))
    _add_trust(commands.add_parser("trust", help="how far finished runs can be trusted"))
    _add_beyond(commands.add_parser("beyond", help="recipes beyond the paper beside the paper's"))
    _add_card(commands.add_parser("card", help="write MODEL_CARD.md from gathered evidence"))
    _add_redraw(commands.add_parser("redraw", help="draw gathered evidence again"))
    _add_fetch(commands.add_parser("fetch", help="fetch the Challenge recordings"))
    _add_predict(commands.add_parser("predict", help="classify WAV files with a trained model"))
    options = parser.parse_args(arguments)
    try:
        options.command(options)
    except InputError as error:
        print(f"hsutils: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"hsutils: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nhsutils: stopped; run the same command again to go on from here", file=sys.stderr)
        return 130
    return 0


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_experiment(parser)
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int)
    seeds.add_argument("--seeds", type=_seeds, help="such as 0,1,2: one run each, then tables")
    parser.add_argument(
        "--trainings-only", action="store_true", help="run the stations without the notebooks"
    )
    parser.set_defaults(command=_run)


def _add_experiment(parser: argparse.ArgumentParser) -> None:
    """What every command that trains or opens runs understands."""
    parser.add_argument("--profile", default="demo", help="demo, paper, ... or a TOML file")
    parser.add_argument("--data", help="folder of the recordings")
    parser.add_argument("--lists", help="folder of the published split lists")
    parser.add_argument(
        "--run-dir", help="run folder (with --seeds, their beginning); default runs/PROFILE"
    )
    parser.add_argument("--accelerator", help="auto, cpu, cuda, mps")
    parser.add_argument("--devices", type=int)
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--precision", help="auto, 32-true, bf16-mixed, ...")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a profile's field"
    )


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(seed) for seed in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list such as 0,1,2") from None


def _run(options: argparse.Namespace) -> None:
    overrides = _overrides(options)
    if options.seeds is None:
        _run_one(options, options.run_dir, overrides)
        return
    from hsutils.stations import is_first_process

    study = _study(options)
    for seed in study.seeds:
        print(f"seed {seed}: {study.folder(seed)}", flush=True)
        _run_one(options, study.folder(seed), study.settings(seed))
    if is_first_process(study.open(study.seeds[0])):
        _write_study(study, study.folder("seeds"))


def _run_one(options: argparse.Namespace, run_dir: str | Path | None, overrides: list[str]) -> None:
    from hsutils import runner, stations
    from hsutils.experiment import open_run

    run = open_run(options.profile, run_dir, overrides)
    compute = run.experiment.compute
    if options.trainings_only or compute.devices * compute.nodes > 1:
        stations.run_all(run)
        if options.trainings_only or not stations.is_first_process(run):
            return
        # The notebooks find every training done, so that one process is enough for them.
        overrides += ["compute.devices=1", "compute.nodes=1"]
        run = open_run(options.profile, run_dir, overrides)
    report = runner.run_series(run, options.profile, overrides)
    _print_results(run.folder, report)


def _overrides(options: argparse.Namespace) -> list[str]:
    fields = {"data.folder": options.data, "splits.lists": options.lists}
    fields["seed"] = getattr(options, "seed", None)
    for name in ("accelerator", "devices", "nodes", "precision"):
        fields[f"compute.{name}"] = getattr(options, name)
    for path in ("data.folder", "splits.lists"):
        fields[path] = str(Path(fields[path]).expanduser().resolve()) if fields[path] else None
    given = [f"{key}={value}" for key, value in fields.items() if value is not None]
    return given + options.set


def _print_results(folder: Path, report: Path) -> None:
    import pandas as pd

    for number, title in enumerate(("dev AUROC", "test confusion", "test scores"), start=1):
        table = folder / f"tables/table_{number}.csv"
        print(f"\nTable {number}: {title}\n{pd.read_csv(table).to_string(index=False)}")
    print(f"\nnotebooks  {folder / 'notebooks'}\nfigures    {folder / 'figures'}")
    print(f"report     {report}")


def _study(options: argparse.Namespace):
    from hsutils.study import Study

    overrides = tuple(_overrides(options))
    return Study(options.profile, options.seeds, overrides, options.run_dir or "")


def _write_study(study, folder: Path) -> None:
    from hsutils import reproduction
    from hsutils.evidence import Evidence, gather

    gathered = Evidence.read(gather(study).save(folder))
    reproduction.draw(gathered, folder)
    print(f"\n{reproduction.markdown(gathered)}\ntables and figures  {folder}")


def _add_variants(parser: argparse.ArgumentParser) -> None:
    _add_experiment(parser)
    parser.add_argument("--seeds", type=_seeds, default=(0,), help="such as 0,1,2")
    parser.add_argument(
        "--only",
        help="names of variants, without-a for a database left out, or focal-without-a for both; "
        "commas between",
    )
    parser.add_argument(
        "--models",
        default="teacher,student,baseline",
        help="which to train where only databases are left out",
    )
    parser.set_defaults(command=_variants)


def _variants(options: argparse.Namespace) -> None:
    from hsutils.study import STATION, train_variants
    from hsutils.variants import VARIANTS

    asked = [name.strip() for name in options.only.split(",")] if options.only else VARIANTS
    models = [name.strip() for name in options.models.split(",")]
    if unknown := sorted(set(models) - set(STATION)):
        raise InputError(f"no model {', '.join(unknown)}: use some of {', '.join(STATION)}")
    train_variants(_study(options), asked, models=models)


def _add_gather(parser: argparse.ArgumentParser) -> None:
    _add_gathering(parser, "seeds")
    parser.set_defaults(command=_gather)


def _add_gathering(parser: argparse.ArgumentParser, kind: str) -> None:
    """What every command that gathers finished runs understands."""
    _add_experiment(parser)
    parser.add_argument("--seeds", type=_seeds, default=(0,), help="such as 0,1,2")
    parser.add_argument("--to", help=f"folder to write into; default RUN_DIR-{kind}")


def _gather(options: argparse.Namespace) -> None:
    study = _study(options)
    _write_study(study, Path(options.to) if options.to else study.folder("seeds"))


def _add_trust(parser: argparse.ArgumentParser) -> None:
    _add_gathering(parser, "trust")
    parser.set_defaults(command=_trust)


def _trust(options: argparse.Namespace) -> None:
    from hsutils import trust_figures
    from hsutils.trust import Trust, collect_study

    study = _study(options)
    folder = Path(options.to) if options.to else study.folder("trust")
    kept = Trust.read(collect_study(study).save(folder))
    trust_figures.draw(kept, folder)
    trust_figures.draw_storage(kept, study.look(study.seeds[0]), folder)
    print(f"tables and figures  {folder}")


def _add_beyond(parser: argparse.ArgumentParser) -> None:
    _add_gathering(parser, "beyond")
    # Here it may name several, with commas between.
    parser.set_defaults(command=_beyond, profile="paper,native,native-all")


def _beyond(options: argparse.Namespace) -> None:
    from hsutils import beyond_figures
    from hsutils.beyond import Beyond, collect
    from hsutils.study import Study

    names = [name.strip() for name in options.profile.split(",")]
    overrides, base = tuple(_overrides(options)), options.run_dir
    studies = [Study(n, options.seeds, overrides, f"{base}-{n}" if base else "") for n in names]
    folder = Path(options.to) if options.to else studies[0].folder("beyond")
    kept = Beyond.read(collect(studies).save(folder))
    print(*beyond_figures.draw(kept, folder), sep="\n")


def _add_card(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--evidence", default="figures/reproduction", help="gathered by `gather`")
    parser.add_argument("--trust", default="figures/trust", help="gathered by `trust`")
    parser.add_argument("--to", default="MODEL_CARD.md", help="file to write")
    parser.set_defaults(command=_card)


def _card(options: argparse.Namespace) -> None:
    from hsutils import findings
    from hsutils.evidence import Evidence
    from hsutils.model_card import write_model_card
    from hsutils.trust import Trust

    kept = Evidence.read(options.evidence), Trust.read(options.trust)
    print(write_model_card(*kept, Path(options.to)))
    tables = findings.read_tables(Path(options.trust))
    if "heart_or_stethoscope" in tables:
        print(f"\nin the README:\n\n{findings.summary(tables)}")


def _add_redraw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="folder with gathered evidence")
    parser.set_defaults(command=_redraw)


def _redraw(options: argparse.Namespace) -> None:
    from hsutils import ablations, beyond_figures, reproduction, trust_figures
    from hsutils.beyond import Beyond
    from hsutils.evidence import Evidence
    from hsutils.trust import Trust

    folder = Path(options.folder)
    if (folder / "inner.csv").is_file():
        print(*beyond_figures.draw(Beyond.read(folder), folder), sep="\n")
        return
    if (folder / "cases.csv").is_file():
        print(*trust_figures.draw(Trust.read(folder), folder), sep="\n")
        return
    evidence = Evidence.read(folder)
    print(*reproduction.draw(evidence, folder), "", reproduction.markdown(evidence), sep="\n")
    if len(table := reproduction.tables(evidence)["ablations"]):
        print(ablations.markdown(table))


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", default="data/challenge-2016", help="folder to unpack into")
    parser.add_argument("--mirror", help="local folder with the zip archives, instead of PhysioNet")
    parser.set_defaults(command=_fetch)


def _fetch(options: argparse.Namespace) -> None:
    from hsutils.fetch import fetch

    fetch(options.to, options.mirror)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wav", nargs="+", help="heart sound recordings (WAV)")
    parser.add_argument("--run-dir", default="runs/demo", help="run folder with the trained model")
    parser.add_argument("--model", default="student", choices=("teacher", "student", "baseline"))
    parser.set_defaults(command=_predict)


def _predict(options: argparse.Namespace) -> None:
    from hsutils.prediction import classify

    table = classify(options.wav, Path(options.run_dir), options.model)
    print(table.to_csv(index=False), end="")


if __name__ == "__main__":
    sys.exit(main())
