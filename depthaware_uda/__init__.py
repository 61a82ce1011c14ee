"""Depth guidance and intra-domain adaptation for semantic segmentation: DAF, ISL and IDA."""

from depthaware_uda.evaluation import EvaluationResult, evaluate
from depthaware_uda.hub import convert_checkpoint, list_pretrained, load_pretrained
from depthaware_uda.models import DepthAttentionHead, DepthAwareFusion, create_model
from depthaware_uda.pipeline import run_protocol
from depthaware_uda.prediction import Prediction, predict, write_predictions
from depthaware_uda.protocols import AdaptationProtocol, get_protocol, list_protocols
from depthaware_uda.pseudo_labels import PseudoLabels, write_pseudo_labels
from depthaware_uda.ranking import EntropyRanker, Ranking, TargetSplit
from depthaware_uda.trainers import (
    DAFConfig,
    DAFTrainer,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    SelfTrainingConfig,
    SelfTrainingTrainer,
    TrainResult,
    estimate_memory,
)
from depthaware_uda.types import SegDepthOutput
from depthaware_uda.version import __version__

__all__ = [
    "AdaptationProtocol",
    "DAFConfig",
    "DAFTrainer",
    "DepthAttentionHead",
    "DepthAwareFusion",
    "EntropyRanker",
    "EvaluationResult",
    "IDAConfig",
    "IDATrainer",
    "ISLConfig",
    "ISLTrainer",
    "Prediction",
    "PseudoLabels",
    "Ranking",
    "SegDepthOutput",
    "SelfTrainingConfig",
    "SelfTrainingTrainer",
    "TargetSplit",
    "TrainResult",
    "__version__",
    "convert_checkpoint",
    "create_model",
    "estimate_memory",
    "evaluate",
    "get_protocol",
    "list_pretrained",
    "list_protocols",
    "load_pretrained",
    "predict",
    "run_protocol",
    "write_predictions",
    "write_pseudo_labels",
]
