"""Networks and their pieces; each piece works alone."""

from depthaware_uda.models.backbones import CaffeResNet101, Normalization, TimmBackbone
from depthaware_uda.models.batch_norm import BatchNorm2d
from depthaware_uda.models.checkpointing import Checkpointing, statistics_kept
from depthaware_uda.models.discriminator import MIN_DISCRIMINATOR_SIZE, create_discriminator
from depthaware_uda.models.ensemble import Ensemble
from depthaware_uda.models.factory import create_model
from depthaware_uda.models.fusion import DepthAwareFusion, FusionMode, JointSpace, depth_bin_logits
from depthaware_uda.models.heads import ASPPv2, ChannelAttention, DadaDepthHead, DepthAttentionHead, DepthGate
from depthaware_uda.models.pixels import PixelStatistics
from depthaware_uda.models.refined_head import RefinedSegmentationHead
from depthaware_uda.models.resize import resize, resize_output
from depthaware_uda.models.segmenter import DepthSegmenter

__all__ = [
    "MIN_DISCRIMINATOR_SIZE",
    "ASPPv2",
    "BatchNorm2d",
    "CaffeResNet101",
    "ChannelAttention",
    "Checkpointing",
    "DadaDepthHead",
    "DepthAttentionHead",
    "DepthAwareFusion",
    "DepthGate",
    "DepthSegmenter",
    "Ensemble",
    "FusionMode",
    "JointSpace",
    "Normalization",
    "PixelStatistics",
    "RefinedSegmentationHead",
    "TimmBackbone",
    "create_discriminator",
    "create_model",
    "depth_bin_logits",
    "resize",
    "resize_output",
    "statistics_kept",
]
