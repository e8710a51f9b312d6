"""The losses of the paper: NT-Xent for pre-training, binary cross entropy for the rest."""

import torch
from torch import Tensor
from torch.nn import functional


def nt_xent(z_i: Tensor, z_j: Tensor, temperature: float = 0.07) -> Tensor:
    """Normalized temperature-scaled cross entropy of a batch of positive pairs.

    Every embedding is an anchor; its partner is the positive and the other
    2N - 2 embeddings are negatives (paper, figure 2; Chen et al. 2020, eq. 1).

    Args:
        z_i, z_j: projections of the two views, shape (N, D); need not be normalized.
        temperature: > 0, dimensionless.

    Returns:
        Scalar, in nats, averaged over the 2N anchors. Identical embeddings give log(2N - 1).

    Raises:
        ValueError: if shapes differ, N < 2, or temperature <= 0.

    >>> nt_xent(torch.ones(3, 8), torch.ones(3, 8)).exp().round(decimals=3)  # 2N - 1
    tensor(5.)
    """
    if z_i.shape != z_j.shape or z_i.ndim != 2:
        raise ValueError(f"expected two (N, D) batches, got {(*z_i.shape,)} and {(*z_j.shape,)}")
    if len(z_i) < 2:
        raise ValueError("NT-Xent needs at least two pairs: with one there are no negatives")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    n = len(z_i)
    z = torch.cat([z_i, z_j])
    # Half precision cannot tell close similarities apart; double precision is left alone.
    z = functional.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
    similarity = z @ z.T / temperature
    itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return functional.cross_entropy(similarity.masked_fill(itself, -torch.inf), partner)


def soft_label_bce(logits: Tensor, soft_labels: Tensor, gamma: float = 0.0) -> Tensor:
    """Binary cross entropy of logits against probabilities of abnormal (paper section 4).

    True labels are the special case of soft labels 0 and 1: distillation, fine-tuning and the
    baseline differ in their targets only.

    Args:
        logits: shape (N,).
        soft_labels: in [0, 1], shape (N,).
        gamma: at least 0; above 0, each recording is weighted by the distance of its probability
            from its soft label, raised to this power: focal loss (Lin et al. 2017), carried over to
            soft labels by Li et al. 2020 (Generalized focal loss, eq. 5).

    Returns:
        Scalar, in nats, averaged over the batch; smallest where sigmoid(logit) = soft label.

    Raises:
        ValueError: if shapes differ.

    >>> soft_label_bce(torch.tensor([0.0]), torch.tensor([0.5])).exp()
    tensor(2.)
    """
    if logits.shape != soft_labels.shape:
        raise ValueError(f"{(*logits.shape,)} logits but {(*soft_labels.shape,)} soft labels")
    if gamma == 0:
        return functional.binary_cross_entropy_with_logits(logits, soft_labels)
    loss = functional.binary_cross_entropy_with_logits(logits, soft_labels, reduction="none")
    return ((soft_labels - logits.sigmoid()).abs() ** gamma * loss).mean()
