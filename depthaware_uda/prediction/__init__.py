"""Prediction for images of any kind and size: class map, confidence, entropy and depth in metres."""

from depthaware_uda.models.input_size import InputSize
from depthaware_uda.prediction.folder import write_predictions
from depthaware_uda.prediction.inputs import PredictionInput
from depthaware_uda.prediction.passes import TileSize
from depthaware_uda.prediction.result import FileKind, Prediction
from depthaware_uda.prediction.run import UnreadableImage, predict

__all__ = [
    "FileKind",
    "InputSize",
    "Prediction",
    "PredictionInput",
    "TileSize",
    "UnreadableImage",
    "predict",
    "write_predictions",
]
