"""The command line: python -m hsutils run | variants | gather | trust | redraw | fetch | ..."""

import argparse
import sys
from pathlib import Path

from hsutils.errors import InputError
from hsutils.gathering import (
    add_beyond,
    add_card,
    add_gather,
    add_redraw,
    add_trust,
    write_study,
)
from hsutils.options import (
    add_experiment,
    add_models,
    models_of,
    overrides_of,
    seed_list,
    study_of,
)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run one command; 0, or 2 after a line that says what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m hsutils", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_run(commands.add_parser("run", help="run the whole series of notebooks, headless"))
    _add_variants(commands.add_parser("variants", help="train what the paper's recipe is held to"))
    add_gather(commands.add_parser("gather", help="tables and figures over seeds and variants"))
    add_trust(commands.add_parser("trust", help="how far finished runs can be trusted"))
    add_beyond(commands.add_parser("beyond", help="recipes beyond the paper beside the paper's"))
    add_card(commands.add_parser("card", help="write MODEL_CARD.md from gathered evidence"))
    add_redraw(commands.add_parser("redraw", help="draw gathered evidence again"))
    _add_fetch(commands.add_parser("fetch", help="fetch the Challenge recordings"))
    _add_export(commands.add_parser("export", help="one file of a model and what made it"))
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
    add_experiment(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int)
    which.add_argument("--seeds", type=seed_list, help="such as 0,1,2: one run each, then tables")
    parser.add_argument(
        "--trainings-only", action="store_true", help="run the stations without the notebooks"
    )
    add_models(parser, "with --trainings-only")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> None:
    from hsutils.studies.study import STATION

    overrides = overrides_of(options)
    if not options.trainings_only and set(models_of(options)) != set(STATION):
        raise InputError("--models: the notebooks need every model; add --trainings-only")
    if options.seeds is None:
        _run_one(options, options.run_dir, overrides)
        return
    from hsutils.pipeline import is_first_process

    study = study_of(options)
    for seed in study.seeds:
        print(f"seed {seed}: {study.folder(seed)}", flush=True)
        _run_one(options, study.folder(seed), study.settings(seed))
    whole = not options.trainings_only or set(models_of(options)) == set(STATION)
    if whole and is_first_process(study.open(study.seeds[0])):
        write_study(study, study.folder("seeds"))


def _run_one(options: argparse.Namespace, run_dir: str | Path | None, overrides: list[str]) -> None:
    from hsutils import runner, pipeline as stations
    from hsutils.experiment import open_run
    from hsutils.studies.study import STATION

    run = open_run(options.profile, run_dir, overrides)
    compute = run.experiment.compute
    if options.trainings_only or compute.devices * compute.nodes > 1:
        for model in models_of(options) if options.trainings_only else STATION:
            STATION[model](run)
        if options.trainings_only or not stations.is_first_process(run):
            return
        # The notebooks find every training done, so that one process is enough for them.
        overrides += ["compute.devices=1", "compute.nodes=1"]
        run = open_run(options.profile, run_dir, overrides)
    report = runner.run_series(run, options.profile, overrides)
    _print_results(run.folder, report)


def _print_results(folder: Path, report: Path) -> None:
    import pandas as pd

    for number, title in enumerate(("dev AUROC", "test confusion", "test scores"), start=1):
        table = folder / f"tables/table_{number}.csv"
        print(f"\nTable {number}: {title}\n{pd.read_csv(table).to_string(index=False)}")
    print(f"\nnotebooks  {folder / 'notebooks'}\nfigures    {folder / 'figures'}")
    print(f"report     {report}")


def _add_variants(parser: argparse.ArgumentParser) -> None:
    add_experiment(parser)
    parser.add_argument("--seeds", type=seed_list, default=(0,), help="such as 0,1,2")
    parser.add_argument(
        "--only",
        help="names of variants, without-a for a database left out, or focal-without-a for both; "
        "commas between",
    )
    add_models(parser, "where only databases are left out")
    parser.set_defaults(command=_variants)


def _variants(options: argparse.Namespace) -> None:
    from hsutils.studies.study import train_variants
    from hsutils.studies.variants import VARIANTS

    asked = [name.strip() for name in options.only.split(",")] if options.only else VARIANTS
    train_variants(study_of(options), asked, models=models_of(options))


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run-dir", required=True, help="run folder with the trained model")
    parser.add_argument("--model", default="student", choices=("teacher", "student", "baseline"))
    parser.add_argument("--to", required=True, help="file to write (.safetensors)")
    parser.set_defaults(command=_export)


def _export(options: argparse.Namespace) -> None:
    from hsutils.pretrained import export

    print(export(options.run_dir, options.model, options.to))


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", default="data/challenge-2016", help="folder to unpack into")
    parser.add_argument("--mirror", help="local folder with the zip archives, instead of PhysioNet")
    parser.set_defaults(command=_fetch)


def _fetch(options: argparse.Namespace) -> None:
    from hsutils.data.download import fetch

    fetch(options.to, options.mirror)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wav", nargs="+", help="heart sound recordings (WAV)")
    parser.add_argument("--run-dir", default="runs/demo", help="run folder with the trained model")
    parser.add_argument("--model", default="student", choices=("teacher", "student", "baseline"))
    parser.add_argument(
        "--pretrained", action="store_true", help="the compact CNN that comes with the package"
    )
    parser.set_defaults(command=_predict)


def _predict(options: argparse.Namespace) -> None:
    from hsutils.predict import classify

    run_dir = None if options.pretrained else Path(options.run_dir)
    table = classify(options.wav, run_dir, options.model)
    print(table.to_csv(index=False), end="")


if __name__ == "__main__":
    sys.exit(main())
