"""Trainings and tables that are made once a run, also where several processes share the work.

With several devices every process computes, but only the first one writes into the run folder.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
from lightning_fabric import Fabric
from torch import nn

from hsutils.environment import describe_environment
from hsutils.files import write_csv
from hsutils.run import Run
from hsutils.training.checkpoints import (
    Checkpoint,
    history_rows,
    history_table,
    load_weights,
    save_weights,
)
from hsutils.training.devices import resolve_precision, start_fabric
from hsutils.training.loop import Procedure, Trained


def is_first_process(run: Run) -> bool:
    """Whether this process may write; with several devices only the first does."""
    return start_fabric(run.profile.compute).is_global_zero


def load_or_train(
    run: Run,
    name: str,
    section: str,
    model: nn.Module,
    stamp: str,
    train: Callable[[Procedure, Fabric], Trained],
) -> Trained:
    """Load what was trained from the same inputs; otherwise train, save and say so.

    Args:
        run: the run.
        name: of the weights file: encoder, teacher, student or baseline.
        section: of the profile, whose settings the training has.
        model: receives the weights.
        stamp: fingerprint of everything the training depends on.
        train: trains the model in place.
    """
    file, settings = f"{name}.safetensors", getattr(run.profile, section)
    fabric, first = start_fabric(run.profile.compute), is_first_process(run)
    with run.writing() if first else nullcontext():
        if found(run, file, stamp):
            print(f"{name}: loaded from {run.path(file)}")
            load_weights(model, run.path(file))
        else:
            checkpoint = Checkpoint(run.path("checkpoints", file), stamp)
            compute = run.profile.compute
            procedure = Procedure(section, settings, run.profile.seed, checkpoint, compute.workers)
            trained = train(procedure, fabric)

            def make(path: Path) -> dict:
                about = {"profile": run.profile.portable().to_toml(), "model": name}
                save_weights(path, model.state_dict(), about)
                environment = describe_environment(run.profile.seed, compute.threads)
                environment |= {"device": str(fabric.device), "processes": fabric.world_size}
                environment["precision"] = resolve_precision(compute)
                return {"history": history_rows(trained.history), "environment": environment}

            if first:
                run.store(file, stamp, make)
                checkpoint.remove()
                print(f"{name}: trained, saved in {run.path(file)}")
            fabric.barrier()
    return Trained(history_table(run.note(file)["history"]), settings.keep)


def load_or_save(
    run: Run, file: str, stamp: str, compute: Callable[[], pd.DataFrame], **note
) -> None:
    """Save a table unless it is there. Every process computes, but only the first one writes."""
    if found(run, file, stamp):
        return
    table = compute()
    if is_first_process(run):

        def make(path: Path) -> dict:
            write_csv(path, table)
            return note

        with run.writing():
            run.store(file, stamp, make)
    start_fabric(run.profile.compute).barrier()


def found(run: Run, file: str, stamp: str) -> bool:
    """Whether a file made from these inputs is there; other processes wait for the first."""
    fabric = start_fabric(run.profile.compute)
    done = fabric.is_global_zero and run.take_over(file, stamp)
    fabric.barrier()
    return done if fabric.world_size == 1 else run.is_done(file, stamp)
