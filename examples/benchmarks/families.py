"""The families of backbones that are tested, built small and without weights."""

from typing import Any

# timm's name, arguments that make it small, strides of the stages with create_model's default settings.
FAMILIES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "resnet": ("resnet10t", {}, (4, 8, 8, 8)),
    "regnet": ("regnetx_002", {}, (4, 8, 8, 8)),
    "mobilenet": ("mobilenetv3_small_050", {}, (4, 8, 8, 8)),
    "efficientnet": ("efficientnet_lite0", {}, (4, 8, 8, 8)),
    "convnext": ("convnextv2_atto", {}, (4, 8, 8, 8)),
    "hrnet": ("hrnet_w18_small", {}, (4, 8, 16, 32)),
    "swin": ("swin_tiny_patch4_window7_224", {"embed_dim": 24, "depths": (1, 1, 1, 1)}, (4, 8, 16, 32)),
    "swinv2": ("swinv2_tiny_window8_256", {"embed_dim": 24, "depths": (1, 1, 1, 1)}, (4, 8, 16, 32)),
    "mit-like (pvt v2)": ("pvt_v2_b0", {}, (4, 8, 16, 32)),
    "mvit": ("mvitv2_tiny", {}, (4, 8, 16, 32)),
    "davit": ("davit_tiny", {"embed_dims": (24, 48, 96, 192), "depths": (1, 1, 1, 1)}, (4, 8, 16, 32)),
    "focalnet": ("focalnet_tiny_srf", {}, (4, 8, 16, 32)),
    "mambaout": ("mambaout_femto", {}, (4, 8, 16, 32)),
    "fastvit": ("fastvit_t8", {}, (4, 8, 16, 32)),
    "vit": ("vit_tiny_patch16_224", {"depth": 3}, (16, 16, 16)),
    "dinov2": ("vit_small_patch14_dinov2", {"depth": 3, "embed_dim": 48, "num_heads": 3}, (14, 14, 14)),
    "dinov2 with registers": ("vit_small_patch14_reg4_dinov2", {"depth": 3, "embed_dim": 48}, (14, 14, 14)),
    "dinov3": ("vit_small_patch16_dinov3", {"depth": 3, "embed_dim": 96}, (16, 16, 16)),
    "eva": ("eva02_tiny_patch14_224", {"depth": 3}, (14, 14, 14)),
    "xcit": ("xcit_nano_12_p16_224", {"depth": 3}, (16, 16, 16)),
}
