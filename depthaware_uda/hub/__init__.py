"""Weights from elsewhere, and to elsewhere: registered names, folders, repositories on a hub, published checkpoints."""

from depthaware_uda.hub.checkpoints import Architecture, convert_checkpoint, load_backbone
from depthaware_uda.hub.keys import convert_discriminator_state_dict, convert_state_dict
from depthaware_uda.hub.loading import load_pretrained
from depthaware_uda.hub.model_card import CITATION, Scores, model_card
from depthaware_uda.hub.publishing import push_to_hub, weights_record
from depthaware_uda.hub.reading import read_checkpoint
from depthaware_uda.hub.registry import NAMESPACE, NAMESPACE_VARIABLE, PretrainedRecord, get_record, list_pretrained

__all__ = [
    "CITATION",
    "NAMESPACE",
    "NAMESPACE_VARIABLE",
    "Architecture",
    "PretrainedRecord",
    "Scores",
    "convert_checkpoint",
    "convert_discriminator_state_dict",
    "convert_state_dict",
    "get_record",
    "list_pretrained",
    "load_backbone",
    "load_pretrained",
    "model_card",
    "push_to_hub",
    "read_checkpoint",
    "weights_record",
]
