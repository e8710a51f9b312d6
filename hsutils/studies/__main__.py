"""Studies over many runs, such as `python -m hsutils.studies reproduction`.

Each trains what is missing and writes its inputs, `results.csv` and every picture into one folder.
"""

import argparse
import sys
from pathlib import Path

from hsutils.errors import GO_ON, InputError
from hsutils.files import write_csv
from hsutils.models.build import MODELS
from hsutils.plots import save_figure
from hsutils.studies import beats, lessons, new_databases, reproduction, trust
from hsutils.studies.cluster import train_all
from hsutils.studies.gallery import pictures
from hsutils.studies.seeds import Study, Tables, gather, read_tables, variant_runs

MODULES = {"reproduction": reproduction, "ablations": reproduction, "trust": trust, "beats": beats}
MODULES |= {"unseen": new_databases, "heart-cycles": new_databases, "lessons": lessons}
TRAINED = {"ablations": reproduction.VARIANTS, "unseen": new_databases.CONFIGURATIONS}
"""What a study trains, if not only seeds of a profile."""


def main(arguments: list[str] | None = None) -> int:
    """Run one study; 0, or 2 after a line that says what is wrong, or 130 if it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m hsutils.studies", description=__doc__)
    parser.add_argument("study", choices=MODULES)
    parser.add_argument("--profile", default="paper", help="default paper")
    parser.add_argument("--seeds", default="0", help="such as 0,1,2")
    parser.add_argument("--data", help="folder of the recordings")
    parser.add_argument("--lists", help="folder of the published split lists")
    parser.add_argument("--run-dir", default="", help="beginning of the run folders")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--only", help="what to train: names with commas between; default all")
    parser.add_argument("--scheduler", default="", help="of dask, such as tcp://host:8786")
    parser.add_argument("--to", required=True, type=Path, help="folder to write into")
    parser.add_argument("--lock", metavar="NAME", help="of `unseen`: the final configuration")
    parser.add_argument("--redraw", action="store_true", help="compute from the CSV files there")
    options = parser.parse_args(arguments)
    module, folder = MODULES[options.study], options.to
    try:
        if options.lock and options.study != "unseen":
            raise InputError("--lock is of the study `unseen`; leave it out")
        if options.lock:
            print(new_databases.lock(folder, options.lock, _study(options)))
            return 0
        if not options.redraw:
            made = _gathered(options)
            for file in module.INPUTS:
                write_csv(folder / file, made[file.split(".")[0]])
        found = module.results(read_tables(folder, module.INPUTS))
        print(write_csv(folder / "results.csv", found))
        for name, draw in pictures(module, folder).items():
            print(save_figure(draw(), folder, name))
    except (InputError, OSError) as error:
        print(f"hsutils.studies: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"hsutils.studies: stopped; {GO_ON}", file=sys.stderr)
        return 130
    return 0


def _gathered(options: argparse.Namespace) -> Tables:
    """The inputs of a study, after training what is missing."""
    if options.study == "beats":
        return beats.gather(options.data or "data/circor-2022", options.to)
    known = TRAINED.get(options.study, {})
    names = options.only.split(",") if options.only else [*known]
    if unknown := [name for name in names if name not in known]:
        use = f"use some of {', '.join(known)}" if known else "leave it out"
        raise InputError(f"--only: no {', '.join(unknown)}; {use}")
    study = _study(options)
    if options.study in ("unseen", "heart-cycles"):
        for name in names:
            new_databases.require_lock(options.to, name, study)
        left_out = new_databases.runs(study, names)
        train_all(((run, known[key].models) for key, _, run in left_out), options.scheduler)
        return new_databases.gather(study, known, options.to)
    train_all(((study.run(seed), MODELS) for seed in study.seeds), options.scheduler)
    if options.study == "lessons":
        return lessons.gather_study(study)
    if options.study == "trust":
        return trust.gather_study(study)
    # After the runs of which they take over what they do not change.
    changed = variant_runs(study, {name: known[name] for name in names})
    train_all(((run, models) for _, run, models in changed), options.scheduler)
    return gather(study, reproduction.VARIANTS)


def _study(options: argparse.Namespace) -> Study:
    try:
        seeds = tuple(dict.fromkeys(int(seed) for seed in options.seeds.split(",")))
    except ValueError:
        raise InputError(f"--seeds {options.seeds}: write such as 0,1,2") from None
    paths = {"data.folder": options.data, "splits.lists": options.lists}
    given = [f"{key}={Path(path).resolve()}" for key, path in paths.items() if path]
    given += ["data.source=challenge"] * bool(options.data)
    return Study(options.profile, seeds, (*given, *options.set), options.run_dir)


if __name__ == "__main__":
    sys.exit(main())
