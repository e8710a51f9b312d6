"""The command line: python -m hsutils run | fetch | predict | export

Studies over many runs have their own: python -m hsutils.studies --help
"""

import argparse
import sys
from pathlib import Path

from hsutils.errors import InputError

MODELS = ("teacher", "student", "baseline")
CORPORA = ("challenge-2016", "circor-2022")
COMPUTE = ("accelerator", "devices", "nodes", "precision")
GO_ON = "run the same command again to go on from here"


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run one command; 0, or 2 after a line that says what is wrong.

    Commands import what they need when they run, so that `--help` is quick.
    """
    options, code = _parser().parse_args(arguments), 2
    try:
        options.command(options)
        return 0
    except InputError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        first = (str(error).splitlines() or ["no more memory"])[0]
        message = f"{first} (free some, or use a larger machine; then {GO_ON})"
    except KeyboardInterrupt:
        message, code = f"stopped; {GO_ON}", 130
    print(f"hsutils: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    line, _, studies = __doc__.strip().partition("\n")
    parser = argparse.ArgumentParser(prog="python -m hsutils", description=line, epilog=studies)
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="run the whole series of notebooks, headless")
    run.add_argument("--profile", default="demo", help="demo, paper, ... or a TOML file")
    run.add_argument("--data", help="folder of the Challenge, or a table (CSV) of any recordings")
    run.add_argument("--lists", help="folder of the published split lists")
    run.add_argument("--run-dir", help="run folder (with --seeds, its beginning); runs/PROFILE")
    for name in COMPUTE:
        run.add_argument(f"--{name}", help=f"compute.{name} of the profile")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any field")
    which = run.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int)
    which.add_argument("--seeds", type=seeds, help="such as 0,1,2: a run each in RUN_DIR-SEED")
    run.add_argument("--trainings-only", action="store_true", help="train without the notebooks")
    run.add_argument("--models", default=",".join(MODELS), help="which, with --trainings-only")
    run.set_defaults(command=_run)

    fetch = commands.add_parser("fetch", help="fetch recordings from PhysioNet")
    fetch.add_argument("corpus", nargs="?", default=CORPORA[0], choices=CORPORA)
    fetch.add_argument("--to", help="folder to unpack into; default data/CORPUS")
    fetch.add_argument("--mirror", help="folder or address of the archives; default PhysioNet")
    unsure = "list in recordings.csv what has no sure label, too (circor-2022)"
    fetch.add_argument("--unsure", action="store_true", help=unsure)
    fetch.set_defaults(command=_fetch)

    predict = commands.add_parser("predict", help="classify recordings with a trained model")
    predict.add_argument("wav", nargs="+", help="heart sound recordings (WAV or FLAC)")
    predict.add_argument("--pretrained", action="store_true", help="the packaged compact CNN")
    predict.set_defaults(command=_predict)

    export = commands.add_parser("export", help="one file of a model and what made it")
    export.add_argument("--to", required=True, help="file to write (.safetensors)")
    export.set_defaults(command=_export)
    for parser_of_model in (predict, export):
        parser_of_model.add_argument("--run-dir", default="runs/demo", help="default runs/demo")
        parser_of_model.add_argument("--model", default="student", choices=MODELS)
    return parser


def seeds(text: str) -> tuple[int, ...]:
    """The numbers in a text such as 0,1,2, each once."""
    return tuple(dict.fromkeys(int(seed) for seed in text.split(",")))


def _run(options: argparse.Namespace) -> None:
    from hsutils.config import PROJECT, load_profile
    from hsutils.training.devices import require_devices

    models = set(options.models.split(","))
    if not (models <= set(MODELS) if options.trainings_only else models == set(MODELS)):
        use = f"some of {','.join(MODELS)} and add --trainings-only"
        raise InputError(f"--models {options.models}: use {use}")
    fields = {"data.folder": options.data, "splits.lists": options.lists}
    fields = {k: Path(v).expanduser().resolve() for k, v in fields.items() if v}
    source = load_profile(options.profile).data.source
    if options.data and fields["data.folder"].suffix.lower() == ".csv":
        fields["data.source"] = "table"
    elif options.data and source in ("clips", "table"):
        fields["data.source"] = "challenge"
    fields |= {f"compute.{name}": getattr(options, name) for name in COMPUTE}
    fields["seed"] = options.seed
    settings = [f"{k}={v}" for k, v in fields.items() if v is not None] + options.set
    profile = load_profile(options.profile, settings)
    # Another table is another run.
    table = f"-{Path(profile.data.folder).stem}" if profile.data.source == "table" else ""
    base = options.run_dir or f"runs/{profile.name}{table}"
    runs = {PROJECT / base: settings}
    if options.seeds:
        runs = {PROJECT / f"{base}-{seed}": [*settings, f"seed={seed}"] for seed in options.seeds}
    # What is missing is noticed before anything is written.
    if not options.trainings_only:
        from hsutils.runner import series

        series()
    for overrides in runs.values():
        profile = load_profile(options.profile, overrides)
        require_devices(profile)
        needed = {"--lists": profile.splits.lists}
        if profile.data.source in ("challenge", "table"):
            needed["--data, or run `python -m hsutils fetch`"] = profile.data.folder
        for option, name in needed.items():
            path = PROJECT / Path(name).expanduser()
            kind = "table" if path.suffix.lower() == ".csv" else "folder"
            if name and not (path.is_file() if kind == "table" else path.is_dir()):
                raise InputError(f"{path}: no such {kind}; name it with {option}")
    for folder, overrides in runs.items():
        print(f"run folder {folder}", flush=True)
        _run_one(options, folder, overrides)


def _run_one(options: argparse.Namespace, folder: Path, overrides: list[str]) -> None:
    from hsutils.pipeline import TRAIN
    from hsutils.run import open_run
    from hsutils.training.devices import start_fabric

    run = open_run(options.profile, folder, overrides)
    compute = run.profile.compute
    if options.trainings_only or compute.devices * compute.nodes > 1:
        for model in options.models.split(","):
            TRAIN[model](run)
        if options.trainings_only or not start_fabric(compute).is_global_zero:
            return
        # The notebooks find every training done, so that one process is enough for them.
        overrides = [*overrides, "compute.devices=1", "compute.nodes=1"]
        run = open_run(options.profile, folder, overrides)
    import pandas as pd

    from hsutils.runner import run_series

    report = run_series(run, options.profile, overrides)
    for number, title in enumerate(("dev AUROC", "test confusion", "test scores"), start=1):
        table = pd.read_csv(run.path(f"tables/table_{number}.csv"))
        print(f"\nTable {number}: {title}\n{table.to_string(index=False)}")
    print(f"\nnotebooks  {run.path('notebooks')}\nfigures    {run.path('figures')}")
    print(f"report     {report}")


def _fetch(options: argparse.Namespace) -> None:
    from hsutils.data.circor import fetch_circor
    from hsutils.data.download import fetch

    to = options.to or f"data/{options.corpus}"
    if options.corpus != CORPORA[1]:
        if options.unsure:
            raise InputError(f"--unsure: all labels of {options.corpus} are sure; leave it out")
        fetch(to, options.mirror)
    elif folder := fetch_circor(to, options.mirror, options.unsure):
        print(f"{folder / 'recordings.csv'}: a table of recordings for run, predict and evaluate")


def _predict(options: argparse.Namespace) -> None:
    from hsutils.config import PROJECT
    from hsutils.predict import PACKAGED, classify

    weights = PROJECT / options.run_dir / f"{options.model}.safetensors"
    table, problems = classify(options.wav, PACKAGED if options.pretrained else weights)
    print(table.to_csv(index=False), end="")
    if problems:
        raise InputError(problems)


def _export(options: argparse.Namespace) -> None:
    from hsutils.predict import export

    print(export(options.run_dir, options.model, options.to))
