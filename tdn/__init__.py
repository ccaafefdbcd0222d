"""Temporal Difference Networks: the model, its data, its trainer, and the experiments of the study book.

A video, from notebook 27 or `tdn predict` to its scores: engine/inference.py, data/video.py (open),
data/frames.py, data/sampling.py, data/clips.py (read), data/transforms.py, model/.

A training sample, from `make reproduce` to the gradient: Makefile, __main__.py, commands/train.py; experiments:
registry.py, queue.py, runs.py; engine: trainer.py, loading.py; data: clips.py, sampling.py, transforms.py; model/.
On the way they use experiments/record.py (is it done?); data: video.py, frames.py, resident.py,
pocket/render.py; engine/distributed.py; utils.py.
"""

import importlib

_HOMES = {
    "Cost": "tdn.model.cost",
    "Maps": "tdn.maps.activation",
    "cam": "tdn.maps.activation",
    "create_model": "tdn.model.zoo",
    "list_models": "tdn.model.zoo",
    "load_imagenet": "tdn.model.weights",
    "load_weights": "tdn.model.weights",
    "measure_cost": "tdn.model.cost",
    "optimize": "tdn.model.folding",
    "predict": "tdn.engine.inference",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    """Loads a public name when it is first used (PEP 562), so that `import tdn` alone loads next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
