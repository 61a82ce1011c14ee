"""The stages of the method, on one base."""

from depthaware_uda.trainers.base import Trainer
from depthaware_uda.trainers.callbacks import Callback
from depthaware_uda.trainers.config import TrainerConfig
from depthaware_uda.trainers.daf import DAFTrainer
from depthaware_uda.trainers.ida import IDATrainer
from depthaware_uda.trainers.isl import ISLTrainer
from depthaware_uda.trainers.memory import MemoryEstimate, estimate_memory
from depthaware_uda.trainers.method_config import AdversarialConfig, DAFConfig, IDAConfig, ISLConfig
from depthaware_uda.trainers.run.interruption import TrainingInterrupted
from depthaware_uda.trainers.run.log import read_log
from depthaware_uda.trainers.run.loop import TrainResult
from depthaware_uda.trainers.run.streams import Augmentation
from depthaware_uda.trainers.self_training import SelfTrainingTrainer
from depthaware_uda.trainers.self_training_config import SelfTrainingConfig
from depthaware_uda.trainers.step.batch_norm import reestimate_statistics
from depthaware_uda.trainers.step.divergence import TrainingDiverged

__all__ = [
    "AdversarialConfig",
    "Augmentation",
    "Callback",
    "DAFConfig",
    "DAFTrainer",
    "IDAConfig",
    "IDATrainer",
    "ISLConfig",
    "ISLTrainer",
    "MemoryEstimate",
    "SelfTrainingConfig",
    "SelfTrainingTrainer",
    "TrainResult",
    "Trainer",
    "TrainerConfig",
    "TrainingDiverged",
    "TrainingInterrupted",
    "estimate_memory",
    "read_log",
    "reestimate_statistics",
]
