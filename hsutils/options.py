"""What commands share: options that name a profile, its overrides and seeds."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hsutils.errors import InputError

if TYPE_CHECKING:
    from hsutils.studies.study import Study


def add_experiment(parser: argparse.ArgumentParser) -> None:
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


def add_models(parser: argparse.ArgumentParser, when: str) -> None:
    """The option that names models."""
    every = "teacher,student,baseline"
    parser.add_argument("--models", default=every, help=f"which to train {when}")


def models_of(options: argparse.Namespace) -> list[str]:
    """The models that were asked for.

    Raises:
        InputError: if there is no such model.
    """
    from hsutils.studies.study import STATION

    models = [name.strip() for name in options.models.split(",")]
    if unknown := sorted(set(models) - set(STATION)):
        raise InputError(f"no model {', '.join(unknown)}: use some of {', '.join(STATION)}")
    return models


def seed_list(text: str) -> tuple[int, ...]:
    """Seeds written with commas between."""
    try:
        return tuple(int(seed) for seed in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list such as 0,1,2") from None


def overrides_of(options: argparse.Namespace) -> list[str]:
    """`key=value` texts for everything that was asked for."""
    fields = {"data.folder": options.data, "splits.lists": options.lists}
    fields["seed"] = getattr(options, "seed", None)
    for name in ("accelerator", "devices", "nodes", "precision"):
        fields[f"compute.{name}"] = getattr(options, name)
    for path in ("data.folder", "splits.lists"):
        fields[path] = str(Path(fields[path]).expanduser().resolve()) if fields[path] else None
    given = [f"{key}={value}" for key, value in fields.items() if value is not None]
    return given + options.set


def study_of(options: argparse.Namespace) -> "Study":
    """The study of the profile and seeds that were asked for."""
    from hsutils.studies.study import Study

    overrides = tuple(overrides_of(options))
    return Study(options.profile, options.seeds, overrides, options.run_dir or "")
