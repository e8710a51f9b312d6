"""Trainings that are made once a run, also where several processes share the work."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from lightning_fabric import Fabric
from torch import nn

from hsutils.environment import describe_environment
from hsutils.run import Run
from hsutils.training.checkpoints import Checkpoint, history_table, load_weights, save_weights
from hsutils.training.devices import resolve_precision, start_fabric
from hsutils.training.loop import Procedure, Trained


def load_or_train(
    run: Run,
    name: str,
    section: str,
    model: nn.Module,
    stamp: str,
    train: Callable[[Procedure, Fabric], Trained],
) -> Trained:
    """Load what was trained from the same inputs; otherwise train, save and say so.

    With several devices every process trains, but only the first one writes.

    Args:
        run, section: the run, and the section of its profile that the training follows.
        name: of the weights file: encoder, teacher, student or baseline.
        model: receives the weights.
        stamp: fingerprint of everything the training depends on.
        train: trains the model in place.
    """
    file, path = f"{name}.safetensors", run.path(f"{name}.safetensors")
    compute, settings = run.profile.compute, getattr(run.profile, section)
    fabric = start_fabric(compute)
    first = fabric.is_global_zero
    with run.writing() if first else nullcontext():
        if fabric.broadcast(first and run.take_over(file, stamp)):
            print(f"{name}: loaded from {path}")
            load_weights(model, path)
        else:
            checkpoint = Checkpoint(run.path("checkpoints", file), stamp)
            procedure = Procedure(section, settings, run.profile.seed, checkpoint, compute.workers)
            trained = train(procedure, fabric)

            def make(temporary: Path) -> dict:
                about = {"profile": run.profile.portable().to_toml(), "model": name}
                save_weights(temporary, model.state_dict(), about)
                environment = describe_environment(run.profile.seed, compute.threads)
                environment |= {"device": str(fabric.device), "processes": fabric.world_size}
                environment["precision"] = resolve_precision(compute)
                # JSON knows no NaN, such as the dev AUROC of pre-training.
                history = trained.history.astype(object).where(trained.history.notna(), None)
                return {"history": history.to_dict("records"), "environment": environment}

            if first:
                run.store(file, stamp, make)
                checkpoint.remove()
                print(f"{name}: trained, saved in {path}")
            fabric.barrier()
    return Trained(history_table(run.note(file)["history"]), settings.keep)
