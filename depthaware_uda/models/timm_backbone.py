"""Any timm network as a backbone: convolutional, hierarchical or plain transformer, of any patch size."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import timm
import torch
import torch.nn.functional as F
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn

from depthaware_uda.models.checkpointing import Checkpointing
from depthaware_uda.models.pixels import PixelStatistics

__all__ = ["OutputStride", "TimmBackbone"]

OutputStride = int | Literal["auto"] | None
"""``"auto"`` is 8 where timm can dilate the network and its own stride elsewhere, None always its own."""

# Ways to tell a network that it will see images of any size; each is an error to most networks.
_ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # the former from torch 2.7 on
# Errors that do not come from the image: of a full GPU, a failed one (a class since torch 2.8), other processes.
_OF_THE_DEVICE = (
    torch.OutOfMemoryError,
    getattr(torch, "AcceleratorError", torch.OutOfMemoryError),
    getattr(torch.distributed, "DistError", torch.OutOfMemoryError),
)
# Words of such errors that have no class of their own.
_SAID_BY_THE_DEVICE = ("CUDA error", "cuDNN", "CUBLAS", "NCCL", "HIP error", "unable to find an engine")
# Networks that add maps of neighbouring strides and so need sides that every stride divides.
_DIVISIBLE = ("hrnet", "hieradet", "sam2_hiera")


class TimmBackbone(nn.Module):
    """Any timm network that offers `features_only`, at a chosen output stride.

    Networks that were made for one size are told to take any. Where a plain transformer wants whole patches, and a few
    others want sides that their strides divide, the image is enlarged to the next such size.

    Args:
        name: timm's name of the network.
        output_stride: Stride of the last stage; see `OutputStride`. timm refuses what it cannot dilate.
        out_indices: Stages to use; by default every stage of stride 4 and more, or all where there is none.
        pretrained: Load timm's weights (from the hub or its cache).
        arguments: Further keyword arguments of the network, such as ``{"channels": (32, 64, 128, 256)}``. A network
            that cannot take any size wants ``{"img_size": (height, width)}``; a plain transformer gives the blocks
            named in ``{"out_indices": (2, 5, 8, 11)}``.

    Shape:
        normalised image (N, 3, H, W) -> one map a stage, (N, channels[i], H / strides[i], W / strides[i]), rounded as
        the network does it.

    Raises:
        ConnectionError: timm's weights could not be fetched.
        ValueError: timm does not know the name (near names are suggested), has no weights of it, or cannot give
            features at that stride; in `forward`, the network cannot take images of that size.
    """

    def __init__(
        self,
        name: str,
        *,
        output_stride: OutputStride = 8,
        out_indices: Sequence[int] | None = None,
        pretrained: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), n=5)
            hint = f"; near names: {near}" if near else "; timm.list_models() lists all"
            raise ValueError(f"timm {timm.__version__} knows no model {name!r}{hint}")
        options: dict[str, Any] = {"features_only": True, "pretrained": pretrained, **(arguments or {})}
        if out_indices is not None:
            options["out_indices"] = tuple(out_indices)
        network, self.output_stride = _create(name, output_stride, options)
        self.name = name
        self.network = network
        self._checkpointed = False
        channels, strides = network.feature_info.channels(), network.feature_info.reduction()
        # A stem's features at stride 2 cost the heads much and tell them little.
        coarse = [i for i, stride in enumerate(strides) if stride >= 4 or out_indices is not None]
        self._stages = coarse or list(range(len(strides)))
        self.channels: tuple[int, ...] = tuple(channels[i] for i in self._stages)
        self.strides: tuple[int, ...] = tuple(strides[i] for i in self._stages)
        defaults: dict[str, Any] = network.pretrained_cfg or {}
        self.pixels = PixelStatistics(
            tuple(defaults.get("mean", (0.485, 0.456, 0.406))), tuple(defaults.get("std", (0.229, 0.224, 0.225)))
        )
        self._channels_last = getattr(network, "output_fmt", None) == "NHWC"
        self.multiple = max(self.strides) if name.startswith(_DIVISIBLE) else _patch_size(network)

    def set_checkpointing(self, checkpointing: Checkpointing) -> None:
        """Forget activations inside the stages in training, as timm does it.

        Raises:
            ValueError: "norms", which is not known of a timm network, or a network that cannot.
        """
        if checkpointing == "none" and not self._checkpointed:
            return  # networks without checkpointing can be told "none"
        if checkpointing == "norms":
            raise ValueError("a timm backbone knows checkpointing 'none' and 'all', not 'norms'")
        network: Any = self.network
        if not hasattr(network, "set_grad_checkpointing"):
            network = getattr(network, "model", None)  # timm's wrapper that takes features out of a whole network
        self._checkpointed = checkpointing == "all"
        try:
            network.set_grad_checkpointing(self._checkpointed)
        except (AttributeError, AssertionError, NotImplementedError) as error:
            raise ValueError(f"timm model {self.name!r} has no checkpointing: use checkpointing='none'") from error

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of the chosen stages."""
        stages = self._features(self._enlarged(image))
        features: list[Tensor] = [stages[i] for i in self._stages]
        if self._channels_last:
            features = [feature.permute(0, 3, 1, 2).contiguous() for feature in features]
        return features

    def _enlarged(self, image: Tensor) -> Tensor:
        # Rounded up without a negative number, which ONNX would divide towards zero.
        height, width = ((side + self.multiple - 1) // self.multiple * self.multiple for side in image.shape[-2:])
        # What is exported has to go on at other sizes: there, whole patches are enlarged by nothing.
        if self.multiple == 1 or (not _exporting() and (height, width) == tuple(image.shape[-2:])):
            return image
        return F.interpolate(image, size=(height, width), mode="bilinear", align_corners=True)

    def _features(self, image: Tensor) -> Any:
        try:
            return self.network(image)
        except _OF_THE_DEVICE:
            raise
        except (AssertionError, RuntimeError) as error:
            weight = next(self.network.parameters(), image)
            if (weight.dtype, weight.device) != (image.dtype, image.device):
                raise  # the image differs from the weights in type or device; its size is not to blame
            if any(words in str(error) for words in _SAID_BY_THE_DEVICE):
                raise
            height, width = image.shape[-2:]
            raise ValueError(
                f"timm model {self.name!r} cannot take images of {height} x {width}: {error}; give it images of the "
                f"size that it was made for, or make it for yours with "
                f'backbone_arguments={{"img_size": ({height}, {width})}}'
            ) from error


def _create(name: str, output_stride: OutputStride, options: dict[str, Any]) -> tuple[Any, int | None]:
    """The network, able to take images of any size if it can be, and the output stride that it was asked for."""
    strides = (8, None) if output_stride == "auto" else (output_stride,)
    first: Exception | None = None
    for stride, network_options in _attempts(strides, options):
        try:
            network = timm.create_model(name, **network_options)
            first = None  # its traceback has the frames of the callers, who would keep the network until collection
            return network, stride
        except OSError as error:
            raise ConnectionError(
                f"timm's weights of {name!r} could not be fetched, and are not in its cache: {error} Build "
                "the network without them: pretrained_backbone=False"
            ) from error
        except (TypeError, AssertionError, NotImplementedError, RuntimeError) as error:
            if options["pretrained"] and "No pretrained weights" in str(error):
                raise ValueError(
                    f"timm has no trained weights of {name!r}; timm.list_pretrained() names the networks that have "
                    "some. Build this one without them: pretrained_backbone=False"
                ) from error
            # The last attempt of the first stride has nothing but what was asked for: its error is to the point.
            first = error if stride == strides[0] else first
    remedy = "" if output_stride is None else "; try output_stride=None, which keeps the network's own stride"
    given = {key: value for key, value in options.items() if key not in ("features_only", "pretrained")}
    raise ValueError(
        f"timm model {name!r} gives no features with output_stride={output_stride} and {given}: "
        f"{type(first).__name__}: {first}{remedy}"
    ) from first


def _attempts(strides: tuple[int | None, ...], options: dict[str, Any]) -> Iterator[tuple[int | None, dict[str, Any]]]:
    for stride in strides:
        for any_size in _ANY_SIZE:
            # A size that the user fixes stays fixed.
            if not any_size or "img_size" not in options:
                asked = {} if stride is None else {"output_stride": stride}
                yield stride, {**any_size, **options, **asked}


def _patch_size(network: nn.Module) -> int:
    """Side of the patches that a transformer cuts an image into, which have to be whole; 1 for any other network."""
    embedding = getattr(getattr(network, "model", network), "patch_embed", None)
    return max(embedding.patch_size) if isinstance(embedding, PatchEmbed) else 1
