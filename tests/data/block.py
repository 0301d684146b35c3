"""The beginning of a user's file: a block that adds to its input."""

from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)

    def forward(self, x):
        return x + self.norm(self.conv(x)).relu()
