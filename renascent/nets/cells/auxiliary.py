"""The auxiliary head: a second classifier in the middle of a network, there for its training only."""

from torch import nn


class AuxiliaryHead(nn.Sequential):
    """Classify the map in the middle of a network, so that its first half has a gradient of its own.

    ReLU, 5x5 average pooling, 1x1 convolution to 128, 2x2 convolution to 768, linear: the classifier of Szegedy et al.,
    arXiv:1409.4842, in the form of DARTS, arXiv:1806.09055, Sec. 3.2. From (batch, channels, h, w), h and w of at
    least 5 + stride, to (batch, classes).
    """

    def __init__(self, channels: int, classes: int, stride: int) -> None:
        super().__init__(
            nn.ReLU(),
            nn.AvgPool2d(5, stride),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(768, classes),
        )
