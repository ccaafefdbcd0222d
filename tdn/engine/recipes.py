"""How networks are trained: what a recipe is, and the published ones, each once."""

from dataclasses import dataclass

from tdn.data.transforms import SAMPLINGS


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, on any number of devices (as released: departures, notebook 04). Raises ValueError for
    an option that does not exist."""

    epochs: int
    batch: int  # videos in one step
    lr: float  # for that batch
    optimizer: str = "sgd"  # sgd (momentum 0.9), adamw or muon
    weight_decay: float = 5e-4
    schedule: str = "step"  # step, plateau, cosine, or hold: constant, and in its second half linearly to 0
    steps: tuple[int, ...] = ()  # step: epochs after which the rate is divided by 10
    patience: int = 5  # plateau: epochs without a better validation top-1 before it is divided by 10
    warmup_epochs: float = 0  # linear, from a hundredth of the rate
    label_smoothing: float = 0
    td_lambda: float = 0  # weight of the TD loss (TDRL equation 2), of networks that have one
    clip_norm: float = 20  # largest norm of the gradient, as released
    micro_batch: int | None = None  # videos that a batch norm sees at once, of `batch`; None takes all
    sampling: str = "released"  # frames and crops of training clips, as released or "even" (departures, notebook 04)

    def __post_init__(self):
        options = {
            "optimizer": ("sgd", "adamw", "muon"),
            "schedule": ("step", "plateau", "cosine", "hold"),
            "sampling": SAMPLINGS,
        }
        for name, valid in options.items():
            if getattr(self, name) not in valid:
                raise ValueError(f"{name} must be one of {', '.join(valid)}, not {getattr(self, name)!r}")


# TDN, 8 and 16 frames (CVPR section 4.1). The paper has batch 128 and rate 0.02 for all, and lowers the rate "when the
# performance on the validation set saturates"; batch, rate, epochs and micro-batch (8 videos per GPU, 8 GPUs) are the
# released code's.
SOMETHING = Recipe(epochs=60, batch=64, lr=0.01, weight_decay=5e-4, steps=(30, 45, 55), micro_batch=8)
KINETICS = Recipe(epochs=100, batch=128, lr=0.02, weight_decay=1e-4, steps=(50, 75, 90), micro_batch=16)
# Fine-tuning from Kinetics, as the authors answered their users: 25 epochs, rate 0.002, dropout 0.8. Batch, steps and
# weight decay were not given: the steps are at the same fractions of the epochs as for Kinetics.
UCF_HMDB = Recipe(epochs=25, batch=64, lr=0.002, weight_decay=5e-4, steps=(12, 19, 22), micro_batch=8)
UCF_HMDB_DROPOUT = 0.8
# TDRL (ECCV 2020, section 4.1).
TDRL = Recipe(epochs=50, batch=64, lr=0.01, weight_decay=1e-4, steps=(30, 40, 45), micro_batch=8)
