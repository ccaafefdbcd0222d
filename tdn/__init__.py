"""Temporal Difference Networks: the model, its data, its trainer, and the experiments of the study book."""

from tdn.cam import Maps, cam
from tdn.cost import Cost, list_models, measure_cost
from tdn.model.weights import load_imagenet, load_weights
from tdn.model.zoo import create_model
from tdn.optimize import optimize
from tdn.predict import predict

__all__ = [
    "Cost",
    "Maps",
    "cam",
    "create_model",
    "list_models",
    "load_imagenet",
    "load_weights",
    "measure_cost",
    "optimize",
    "predict",
]
