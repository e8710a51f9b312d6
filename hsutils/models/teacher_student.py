"""The paper's two networks: the contrastive ResNet-18 teacher and the student CNN.

Both take spectrograms (N, 1, mels, frames) and return one logit a recording, shape (N,);
a positive logit means abnormal (paper section 4). Their small heads compute in
float32 under bfloat16, whose eight bits of mantissa would tie recordings in a ranking.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock


class Float32Head(nn.Sequential):
    """Layers that compute in their weights' precision, float32, whatever the autocast around."""

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, D) to outputs (N, K)."""
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.to(self[0].weight.dtype))


class Encoder(ResNet):
    """ResNet-18 with a one-channel stem and no classifier: (N, 1, mels, frames) -> (N, 512).

    11,170,240 parameters, randomly initialized (He et al. 2016; paper section 4).
    """

    def __init__(self):
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.fc = nn.Identity()


class Teacher(nn.Module):
    """Encoder, projection head (for pre-training) and evaluator (for classification).

    11,827,905 parameters in all (paper section 4). The projection head serves the
    contrastive loss only; `forward` classifies with encoder and evaluator.
    """

    def __init__(self, features: int = 512, projection: int = 256):
        super().__init__()
        self.encoder = Encoder()
        self.projection_head = Float32Head(
            nn.Linear(features, features), nn.ReLU(), nn.Linear(features, projection)
        )
        self.evaluator = Float32Head(
            nn.Linear(features, features, bias=False),
            nn.BatchNorm1d(features),
            nn.ReLU(),
            nn.Linear(features, 1),
            nn.Flatten(0),
        )

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Logits, shape (N,), of spectrograms (N, 1, mels, frames)."""
        return self.classifier(spectrograms)

    @property
    def projector(self) -> nn.Sequential:
        """Encoder and projection head, sharing this teacher's weights: the part pre-trained."""
        return nn.Sequential(self.encoder, self.projection_head)

    @property
    def classifier(self) -> nn.Sequential:
        """Encoder and evaluator, sharing this teacher's weights: the part fine-tuned."""
        return nn.Sequential(self.encoder, self.evaluator)


class StudentCNN(nn.Module):
    """The CNN of paper figure 1, used both as distilled student and as supervised baseline.

    5,838,465 parameters for the paper's 1 x 50 x 2805 input; most of them sit in the first
    linear layer, so the count follows the number of frames.

    Args:
        input_shape: (1, mels, frames) of one spectrogram.

    Raises:
        ValueError: if the spectrogram is too small for the three poolings.
    """

    def __init__(self, input_shape: Sequence[int] = (1, 50, 2805)):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 64, kernel_size=9, stride=2, padding=1),
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 128, kernel_size=3, padding=1),
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(128, 128, kernel_size=1),
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.head = Float32Head(
            nn.Linear(_flat_features(input_shape), 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, 1),
            nn.Flatten(0),
        )

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Logits, shape (N,), of spectrograms (N, 1, mels, frames)."""
        return self.head(self.features(spectrograms))


def _flat_features(input_shape: Sequence[int]) -> int:
    _, mels, frames = input_shape
    cells = 1
    for size in (mels, frames):
        after_stem = (size + 2 - 9) // 2 + 1
        cells *= after_stem // 2 // 2 // 2
    if cells < 1:
        raise ValueError(f"a spectrogram of {mels} mel bands x {frames} frames is too small")
    return 128 * cells


def count_parameters(model: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
