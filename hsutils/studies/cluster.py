"""The trainings of a study as tasks of dask.distributed, on this machine's cores or on many.

Every training is a task of its own. One whose worker is lost is given to another worker, which goes
on from the last epoch. Workers elsewhere need the same package and the same folders.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch
from distributed import Client, KilledWorker, LocalCluster, as_completed

from hsutils.environment import usable_cores
from hsutils.errors import InputError
from hsutils.progress import progress
from hsutils.run import Run
from hsutils.studies.seeds import is_trained, train

Training = tuple[Run, Sequence[str]]
"""A run, and which of its models are trained."""


def train_all(trainings: Iterable[Training], scheduler: str = "") -> None:
    """Train what is missing, one thread a training, as many at once as there are workers.

    Args:
        trainings: what is asked for. A run that is trained is only loaded, here, and trained anew
            if its data have changed.
        scheduler: address of a running one, such as tcp://host:8786. By default there is a worker
            for each core of this machine, or a single one where a GPU does the work.

    Raises:
        InputError: of the first training that cannot go on, or where no scheduler answers.
    """
    missing = []
    for run, models in trainings:
        if is_trained(run, models):
            train(run, models)
        else:
            missing.append((run, models))
    if not missing:
        return
    with ExitStack() as opened:
        try:
            address = scheduler or opened.enter_context(_this_machine())
            client = opened.enter_context(Client(address))
        except (OSError, ValueError) as error:
            if not scheduler:
                raise
            problem = f"--scheduler {scheduler}: no scheduler answers ({error})"
            raise InputError(f"{problem}; start `dask scheduler`, or leave it out") from error
        futures = [client.submit(_train, *training, pure=False) for training in missing]
        opened.callback(client.cancel, futures)
        for future in progress(as_completed(futures), len(futures), "trainings"):
            try:
                future.result()
            except KilledWorker as error:
                problem = "a training was given up, since each worker that took it died"
                raise InputError(f"{problem}: is there enough memory?") from error


def _this_machine() -> LocalCluster:
    workers = 1 if torch.cuda.is_available() else usable_cores()
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        memory_limit=0,  # recordings in mapped memory would count as a worker's own
        dashboard_address="127.0.0.1:0",  # any free port: another study may have the usual one
        silence_logs=logging.CRITICAL,
    )


def _train(run: Run, models: Sequence[str]) -> None:
    one = run.profile.compute.model_copy(
        update={"threads": 1, "workers": 0, "devices": 1, "nodes": 1}
    )
    train(replace(run, profile=run.profile.model_copy(update={"compute": one})), models)
