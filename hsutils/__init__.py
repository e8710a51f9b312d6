"""Heart sound classification by teacher-student distillation: the helper package."""

import os
from typing import Any

from hsutils.environment import reuse_memory

# CUDA's matrix library is deterministic only with a workspace of fixed size.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# PyTorch reads its allocator's settings once, at the first tensor.
reuse_memory()


def load_classifier(*arguments: Any, **options: Any) -> Any:
    """The packaged model for a waveform and its rate in Hz; see `hsutils.predict.Classifier`."""
    from hsutils.predict import Classifier  # which takes a second to import

    return Classifier(*arguments, **options)
