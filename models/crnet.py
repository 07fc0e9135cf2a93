"""CRNet, the paper's small network for one-channel CT slices (section III.B, Figure 3)."""

from __future__ import annotations

from torch import Tensor, nn


class CRNet(nn.Module):
    """Three convolution blocks and one linear layer: N×1×S×S → N×classes.

    The paper's text, list and figure disagree; this is the reading that gives the 546,882 parameters of Table II with
    two classes at 224×224: 7×7 convolutions of 32 (with batch norm), 64 and 128 channels, padding 3, stride 1, each
    with ReLU and a 3×3 stride-2 max pool without padding (224 → 111 → 55 → 27), then a 2×2 stride-2 average pool
    (→ 13).

    ``size`` is the side of the input in pixels; the linear layer's width follows from it, so weights fit one size only.
    Raises ValueError for a size that leaves nothing after the pools (under 23).
    """

    def __init__(self, classes: int = 2, size: int = 224) -> None:
        super().__init__()
        side = size
        for _ in range(3):
            side = (side - 3) // 2 + 1
        side //= 2
        if side < 1:
            raise ValueError(
                f"CRNet: expected an input side of at least 23 pixels, got {size}; use 224 as in the paper"
            )
        self.size = size
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=7, padding=3),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(32, 64, kernel_size=7, padding=3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 128, kernel_size=7, padding=3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.AvgPool2d(kernel_size=2, stride=2),
        )
        self.flatten = nn.Flatten()
        self.classifier: nn.Module = nn.Linear(128 * side * side, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.features(images)))
