"""The paper's two networks: the contrastive ResNet-18 teacher and the student CNN.

Both take spectrograms (N, 1, mels, frames) and return one logit per recording, shape (N,);
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

    11,827,905 parameters in all (paper section 4). The projection head serves NT-Xent only.
    """

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.projection_head = Float32Head(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 256))
        self.evaluator = Float32Head(
            nn.Linear(512, 512, bias=False),
            nn.BatchNorm1d(512),
            nn.ReLU(),
            nn.Linear(512, 1),
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

    5,838,465 parameters for the paper's (1, mels, frames) of 1 x 50 x 2805. Most of them are in
    the first linear layer, so the count follows the number of frames.

    Raises:
        ValueError: if the spectrogram is too small for the three poolings.

    >>> count_parameters(StudentCNN())
    5838465
    """

    def __init__(self, input_shape: Sequence[int] = (1, 50, 2805)):
        super().__init__()
        # The first convolution leaves (size - 5) // 2 of each side, the poolings an eighth of that.
        mels, frames = ((size - 5) // 16 for size in input_shape[1:])
        if min(mels, frames) < 1:
            raise ValueError(f"a spectrogram of shape {tuple(input_shape)} is too small")
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
            nn.Linear(128 * mels * frames, 128),
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


def count_parameters(model: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
