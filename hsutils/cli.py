"""The command line: python -m hsutils run | fetch | predict | evaluate | export | edition

Studies over many runs have their own: python -m hsutils.studies --help
"""

import argparse
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from hsutils.errors import GO_ON, InputError

if TYPE_CHECKING:
    from hsutils.config import Profile

MODELS = ("teacher", "student", "baseline")
CORPORA = ("challenge-2016", "circor-2022")
COMPUTE = ("accelerator", "devices", "nodes", "precision")
PURPOSE = "For research and teaching: not for clinical use, and not for children."


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run one command; 0, or 2 after lines that say what is wrong.

    Commands import what they need when they run, so that `--help` is quick.
    """
    options, code = _parser().parse_args(arguments), 2
    try:
        return options.command(options) or 0
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
    run.add_argument("--run-dir", help="run folder (with --seeds, its prefix); runs/PROFILE")
    for name in COMPUTE:
        run.add_argument(f"--{name}", help=f"compute.{name} of the profile")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a field")
    which = run.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int)
    which.add_argument("--seeds", type=seeds, help="such as 0,1,2: one run each, in RUN_DIR-SEED")
    run.add_argument("--trainings-only", action="store_true", help="train without the notebooks")
    run.add_argument("--models", default=",".join(MODELS), help="to train, with --trainings-only")
    run.set_defaults(command=_run)

    fetch = commands.add_parser("fetch", help="fetch recordings from PhysioNet")
    fetch.add_argument("corpus", nargs="?", default=CORPORA[0], choices=CORPORA)
    fetch.add_argument("--to", help="folder to unpack into; default data/CORPUS")
    fetch.add_argument("--mirror", help="folder or address of the archives; default PhysioNet")
    unsure = "also list recordings without a sure label (circor-2022)"
    fetch.add_argument("--unsure", action="store_true", help=unsure)
    fetch.set_defaults(command=_fetch)

    edition = commands.add_parser("edition", help="write the executed notebooks of a run")
    edition.add_argument("--run-dir", required=True, help="run folder of a finished series")
    edition.add_argument("--to", required=True, help="folder to write into")
    edition.set_defaults(command=_edition)

    what = "find the heartbeat in recordings, and classify them"
    predict = commands.add_parser("predict", help=what, description=f"{what}. {PURPOSE}")
    kinds = "WAV, FLAC, OGG, MP3 or AIFF files, folders of them, or - for standard input"
    predict.add_argument("paths", nargs="+", metavar="PATH", help=kinds)
    patient = "one row per patient: folder, a regular expression with a group, a CSV path,patient"
    predict.add_argument("--by", metavar="WHAT", help=patient)
    predict.add_argument("--beats", metavar="CSV", help="also write the times of S1 and S2")
    kinds = {"choices": ("table", "csv", "json"), "help": "default: table on a terminal, else csv"}
    predict.add_argument("--format", **kinds)
    predict.set_defaults(command=_predict)

    what = "evaluate a model on labeled recordings"
    evaluate = commands.add_parser("evaluate", help=what, description=f"{what}. {PURPOSE}")
    columns = "CSV table: path, label; optional: patient, and columns such as site, age, grade"
    evaluate.add_argument("table", help=columns)
    evaluate.add_argument("--to", default="evaluation", help="folder for results and report.html")
    evaluate.add_argument("--groups", help="columns that make subgroups; default: all")
    evaluate.set_defaults(command=_evaluate)

    export = commands.add_parser("export", help="write a model and its settings into one file")
    export.add_argument("--to", required=True, help="file to write (.safetensors or .onnx)")
    help_text = "average the logit with that of a linear model of the run's heart cycles"
    export.add_argument("--heart-cycles", action="store_true", help=help_text)
    export.set_defaults(command=_export)
    for judge in (predict, evaluate):
        judge.add_argument("--threshold", type=finite, metavar="LOGIT", help="above it: abnormal")
    for parser_of_model in (predict, evaluate, export):
        parser_of_model.add_argument("--run-dir", help="run folder; default: the packaged model")
        help_text = f"of the run: {', '.join(MODELS)} (default student); else an exported file"
        parser_of_model.add_argument("--model", help=help_text)
    return parser


def finite(text: str) -> float:
    """A number that is neither infinite nor NaN; ValueError, which argparse expects, if not."""
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


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
    settings = _settings(options)
    profile = load_profile(options.profile, settings)
    # Another table is another run.
    table = f"-{Path(profile.data.folder).stem}" if profile.data.source == "table" else ""
    base = PROJECT / (options.run_dir or f"runs/{profile.name}{table}")
    runs = {base: settings}
    if options.seeds:
        runs = {Path(f"{base}-{seed}"): [*settings, f"seed={seed}"] for seed in options.seeds}
    # What is missing is noticed before anything is written.
    if not options.trainings_only:
        from hsutils.runner import series

        series()
    for folder, overrides in runs.items():
        profile = load_profile(options.profile, overrides)
        if not options.run_dir:
            _require_its_own(folder, profile)
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


def _require_its_own(folder: Path, profile: "Profile") -> None:
    """Refuse a folder that nobody named, if it holds a run with other recordings."""
    from hsutils.config import PROJECT, load_profile

    try:
        before = load_profile(folder / "experiment.toml")
    except InputError:
        return
    found = [
        (
            data.source,
            *((PROJECT / Path(p).expanduser()).resolve() for p in (data.folder, data.more)),
        )
        for data in (before.data, profile.data)
    ]
    if found[0] != found[1]:
        problem = "holds a run with other recordings; name another folder with --run-dir"
        raise InputError(f"{folder}: {problem}, or this one to replace what it holds")


def _settings(options: argparse.Namespace) -> list[str]:
    """What the options of `run` change in its profile."""
    from hsutils.config import load_profile

    fields = {"data.folder": options.data, "splits.lists": options.lists}
    fields = {k: Path(v).expanduser().resolve() for k, v in fields.items() if v}
    source = load_profile(options.profile).data.source
    if options.data and fields["data.folder"].suffix.lower() == ".csv":
        fields["data.source"] = "table"
    elif options.data and source in ("clips", "table"):
        fields["data.source"] = "challenge"
    fields |= {f"compute.{name}": getattr(options, name) for name in COMPUTE}
    fields["seed"] = options.seed
    return [f"{k}={v}" for k, v in fields.items() if v is not None] + options.set


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


def _predict(options: argparse.Namespace) -> int:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # recordings run in parallel
    from hsutils import predict
    from hsutils.files import write_csv

    files, problems = find_recordings(options.paths)
    patients = predict.patients_of(files, options.by) if options.by else files
    classifier = predict.Classifier(_model(options, predict.PACKAGED), options.threshold)
    verdicts, unreadable = classifier.read_all(files)
    # Names that are no text, from an older system, could not be printed.
    named = {file: os.fsencode(file).decode(errors="backslashreplace") for file in files}
    patients = dict(zip(named.values(), patients, strict=True))
    verdicts = {named[file]: verdict for file, verdict in verdicts.items()}
    table = predict.as_table(verdicts)
    if options.by:
        table = predict.pool(table, table.file.map(patients), classifier.threshold)
    else:  # a probability without a heart would be taken for a verdict
        table.loc[table.decision == "", ["logit", "probability"]] = None
    kind = options.format or ("table" if sys.stdout.isatty() else "csv")
    if kind == "json":
        print(table.to_json(orient="records", indent=2, force_ascii=False))
    elif kind == "csv":
        print(table.to_csv(index=False), end="")
    elif len(table):
        print(table.to_string(index=False, na_rep="", float_format="{:.4g}".format))
    if options.beats:
        write_csv(options.beats, predict.beats_table(verdicts))
    for line in [*problems, *unreadable, PURPOSE]:
        print(f"hsutils: {line}", file=sys.stderr)
    return 2 if problems or unreadable else 0


def find_recordings(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Files as they are named, those inside folders; and a line for each folder without any."""
    from hsutils.audio.wav import RECORDINGS

    files, problems = [], []
    for path in paths:
        if not Path(path).is_dir():
            files.append(path)
            continue
        found, failed = [], []
        for folder, _, names in os.walk(path, onerror=failed.append):
            kept = [n for n in names if n.lower().endswith(RECORDINGS) and n[0] != "."]
            found += [str(Path(folder, name)) for name in kept]
        files += sorted(found)
        problems += [f"{error.filename}: {error.strerror}" for error in failed]
        if not found:
            problems.append(f"{path}: a folder without recordings ({', '.join(RECORDINGS)})")
    return list(dict.fromkeys(files)), problems


def _model(options: argparse.Namespace, packaged: Path) -> Path:
    """The model that --run-dir and --model name."""
    from hsutils.config import PROJECT

    name = options.model
    if options.run_dir:
        if name not in (None, *MODELS):
            raise InputError(f"--model {name}: a run has {', '.join(MODELS)}; or omit --run-dir")
        return PROJECT / options.run_dir / f"{name or 'student'}.safetensors"
    if name in MODELS:
        raise InputError(f"--model {name}: name its run with --run-dir")
    return Path(name) if name else packaged


def _evaluate(options: argparse.Namespace) -> int:
    from hsutils.data.table import table_rows

    table_rows(options.table)  # a mistake is reported before the long import
    from hsutils.evaluate import PACKAGED, evaluate, tables

    groups = options.groups.split(",") if options.groups else ()
    model = _model(options, PACKAGED)
    made, problems = evaluate(options.table, options.to, model, options.threshold, groups)
    for name in ("ranking", "thresholds"):
        print(tables(made)[name].to_string(index=False), end="\n\n")
    print(f"report  {Path(options.to) / 'report.html'}")
    for line in [*problems, PURPOSE]:
        print(f"hsutils: {line}", file=sys.stderr)
    return 2 if problems else 0


def _edition(options: argparse.Namespace) -> None:
    from hsutils.config import PROJECT, load_profile
    from hsutils.edition import write_edition
    from hsutils.run import Run

    folder = PROJECT / options.run_dir
    if not (folder / "experiment.toml").is_file():
        raise InputError(f"{folder}: no run folder; name one with --run-dir")
    profile = load_profile(folder / "experiment.toml")
    for path in write_edition(Run(folder, profile), Path(options.to)):
        print(path)


def _export(options: argparse.Namespace) -> None:
    from hsutils.export import PACKAGED_WEIGHTS, export

    print(export(_model(options, PACKAGED_WEIGHTS), options.to, options.heart_cycles))
