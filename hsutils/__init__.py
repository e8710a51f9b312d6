"""Heart sound classification by teacher-student distillation: the helper package."""

from hsutils.memory import reuse_memory

# PyTorch reads its allocator's settings once, at the first tensor.
reuse_memory()
