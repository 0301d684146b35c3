"""How a fixed network is trained, as settings."""

from dataclasses import field
from typing import Annotated

import torch

from renascent.core.errors import UserError
from renascent.core.fields import Count, Like, NonNegative, OneOf, Range, Whole, settings
from renascent.core.optimiser import CroppedSGD
from renascent.core.protocols import Progress, WeightRule
from renascent.core.schema import ABSENT
from renascent.loops.own import sources

BALANCED = "balanced"
"""Class weights by how many images each class has."""

NUMBER = r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
CLASS_WEIGHTS = Like(f"{BALANCED}|{NUMBER}(,{NUMBER})*", "balanced, or a number for each class, such as 1,9")

OPTIMISERS = ("sgd", "adamw")

SGD = WeightRule(lr=0.1, lr_end=0.0, clip=0.0)
ADAMW = WeightRule(lr=0.001, lr_end=0.0, clip=0.0, weight_decay=0.01)
"""What weights learn by unless told otherwise, with each optimiser."""


@settings
class Fit:
    """How a fixed network is trained. The defaults are NATS-Bench's 200-epoch setting.

    Args:
        epochs: passes over the training images.
        batch: images a step.
        weights: rule of the optimiser; AdamW's own unless given, where that is chosen.
        label_smoothing: share of the target spread evenly over all classes.
        drop_path: probability of dropping an edge for an image, growing linearly to this.
        auxiliary: weight of the loss of a second classifier in the middle of the network, there for its training only;
            0 means none.
        bf16: run the forward pass in bfloat16 where it is safe (slow for depthwise convolutions on a CPU).
        float64: compute in double precision: slower, and the same but for the last digits on every processor, where
            single precision grows apart from step to step.
        compile: compile the network first; pays for long trainings only.
        ema: decay of a moving average of the weights that is then the result, such as 0.999; 0 means none.
        optimiser: sgd, or adamw, whose weight decay is decoupled.
        warmup: epochs, of these, in which the learning rate first rises to `lr` on a straight line.
        class_weights: of each class in the loss: balanced (by how many training images it has), or a number for each.
        mixup: images are mixed in pairs by a share from Beta(mixup, mixup), such as 0.2; 0 means none.
        randaugment: random operations on each training image, such as 2; 0 means none (extra renascent[vision]).
        randaugment_magnitude: how strong these are, from 1 to 30.
        loss: your own, as module:function of logits (batch, classes) and labels (batch,).
        metric: your own beside the accuracy, as module:function of all logits and labels, called once a split.
        augmentation: your own, as module:function of raw images (batch, channels, h, w), behind mirror and crop.

    References:
        NATS-Bench, arXiv:2009.00437, Table 3.

        label_smoothing: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, Rethinking the Inception Architecture for
            Computer Vision, CVPR 2016, arXiv:1512.00567.
        drop_path: Larsson, Maire and Shakhnarovich, FractalNet, ICLR 2017, arXiv:1605.07648.

        auxiliary: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, arXiv:1409.4842, Sec. 5.

        adamw: Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019, arXiv:1711.05101.
        warmup: Goyal et al., Accurate, Large Minibatch SGD, arXiv:1706.02677, Sec. 2.2.
        mixup: Zhang, Cisse, Dauphin and Lopez-Paz, mixup: Beyond Empirical Risk Minimization, ICLR 2018,
            arXiv:1710.09412.
        randaugment: Cubuk, Zoph, Shlens and Le, RandAugment, NeurIPS 2020, arXiv:1909.13719.
    """

    epochs: Count = 200
    batch: Count = 256
    weights: WeightRule = SGD
    label_smoothing: Annotated[float, Range(0, 0.9999)] = 0.0
    drop_path: Annotated[float, Range(0, 0.9999)] = 0.0
    auxiliary: NonNegative = field(default=0.0, metadata=ABSENT)
    bf16: bool = False
    float64: bool = False
    compile: bool = False
    ema: Annotated[float, Range(0, 0.9999)] = 0.0
    optimiser: Annotated[str, OneOf("optimiser", OPTIMISERS)] = field(default="sgd", metadata=ABSENT)
    warmup: Whole = field(default=0, metadata=ABSENT)
    class_weights: Annotated[str, CLASS_WEIGHTS] | None = field(default=None, metadata=ABSENT)
    mixup: NonNegative = field(default=0.0, metadata=ABSENT)
    randaugment: Whole = field(default=0, metadata=ABSENT)
    randaugment_magnitude: Annotated[int, Range(1, 30)] = field(default=9, metadata=ABSENT)
    loss: str | None = field(default=None, metadata=ABSENT)
    metric: str | None = field(default=None, metadata=ABSENT)
    augmentation: str | None = field(default=None, metadata=ABSENT)

    def __post_init__(self) -> None:
        if self.adamw and self.weights == SGD:
            object.__setattr__(self, "weights", ADAMW)
        if self.adamw and self.weights.momentum == 1:
            raise UserError("momentum is 1, and AdamW's has to be below: give 0.9, say")
        if self.warmup >= self.epochs and self.warmup:
            raise UserError(f"warmup is {self.warmup} of {self.epochs} epochs: give less than all of them")
        if self.loss is not None and (self.class_weights or self.label_smoothing):
            other = "class_weights" if self.class_weights else "label_smoothing"
            raise UserError(f"loss is '{self.loss:.80}', and {other} is of cross-entropy: leave one of them out")
        if self.bf16 and self.float64:
            raise UserError("bf16 and float64 are both on, and they exclude each other: choose one")

    @property
    def adamw(self) -> bool:
        """Whether the optimiser is AdamW."""
        return self.optimiser == "adamw"

    @property
    def sources(self) -> dict[str, str]:
        """Checksums of the user's own functions that decide how the weights learn, which are imported for that."""
        return sources(loss=self.loss, augmentation=self.augmentation)

    def apply(self, optimiser: CroppedSGD | torch.optim.AdamW, t: Progress) -> None:
        """Take one step at the rate of now, which a warm-up may still raise."""
        share, fraction, epochs = t.warmed(self.warmup)
        self.weights.apply(optimiser, fraction, epochs=epochs, share=share)


FINE_TUNING = Fit(epochs=30, batch=64, weights=WeightRule(lr=0.03, lr_end=0.0, clip=0.0), warmup=1)
"""How weights that come from a search are trained on unless told otherwise: a large first step spoils them."""
