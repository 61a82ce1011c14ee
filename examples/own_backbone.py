"""Your own backbone under the depth branch: what the heads ask of it, and a few steps of DAF with it.

    python examples/own_backbone.py [--timm NAME] [--smoke]

A backbone is a module that maps a normalised image to one feature map a stage, and says three things: ``channels`` and
``strides`` of the stages, and the ``pixels`` that it was trained on. With ``--timm`` any network of timm takes the
place of the one below. The streets are rendered; give `DAFTrainer` your own data instead. Run again, it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from depthaware_uda import DAFConfig, DAFTrainer, EvaluationResult
from depthaware_uda.data import MiniCity, flip_and_crop
from depthaware_uda.distributed import initialize, is_writer
from depthaware_uda.labels import LabelSpace, get_label_space
from depthaware_uda.models import ASPPv2, DepthAttentionHead, DepthGate, DepthSegmenter, PixelStatistics, TimmBackbone
from depthaware_uda.tensors import WEIGHTS_FILE


class Pyramid(nn.Module):
    """Four stages of strided convolutions; stands for a network of yours."""

    channels = (16, 24, 32, 48)
    strides = (4, 8, 16, 16)
    pixels = PixelStatistics(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))  # RGB in 0..1

    def __init__(self) -> None:
        super().__init__()
        steps = zip((3, *self.channels), self.channels, (4, 2, 2, 1), strict=False)
        self.stages = nn.ModuleList(_stage(before, after, stride) for before, after, stride in steps)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of the four stages."""
        features = [image]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features[1:]


def _stage(before: int, after: int, stride: int) -> nn.Sequential:
    shrink = nn.Conv2d(before, after, 2 * stride - 1, stride, padding=stride - 1, bias=False)
    deepen = nn.Conv2d(after, after, 3, padding=1, bias=False)
    layers = (nn.BatchNorm2d(after), nn.ReLU(inplace=True))
    return nn.Sequential(shrink, *layers, deepen, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def compose(backbone: Pyramid | TimmBackbone, space: LabelSpace) -> DepthSegmenter:
    """Depth from all stages; its features gate the last stage, which is classified."""
    last = backbone.channels[-1]
    head = DepthAttentionHead(backbone.channels, output_stage=1)  # depth at the size of the second stage
    classifier = ASPPv2(last, len(space), dilations=(1, 2, 4))
    gate = DepthGate(head.out_channels, last)
    return DepthSegmenter(backbone, classifier, depth_head=head, gate=gate, label_space=space)


def main(arguments: Sequence[str] | None = None) -> EvaluationResult | None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timm", metavar="NAME", help="a network of timm instead, such as convnext_tiny")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path("runs/own-backbone"))
    parser.add_argument("--smoke", action="store_true", help="two steps on a few small images")
    args = parser.parse_args(arguments)
    count, size, steps = (3, (48, 64), 2) if args.smoke else (1000, (96, 160), args.steps)

    source = MiniCity(count, size=size, labels="common7")
    target, val = (MiniCity(count, style="real", size=size, labels="common7", seed=seed) for seed in (1, 2))
    backbone = Pyramid() if args.timm is None else TimmBackbone(args.timm, output_stride="auto")
    model = compose(backbone, get_label_space("common7"))
    config = DAFConfig(
        optimizer="adamw",
        learning_rate=2e-3,
        weight_decay=0.01,
        head_lr_multiplier=1.0,
        max_steps=steps,
        batch_size=2 if args.smoke else args.batch_size,
        adversarial_weight=0.01,
        depth_weight=5e-3,
    )
    result = DAFTrainer(model, source, target, config, args.output, val=val, augment=flip_and_crop(size)).fit()
    if is_writer():
        # No name rebuilds a network that was composed by hand: what the run keeps of it is its state_dict().
        print(f"{args.output / 'model' / WEIGHTS_FILE}: read_tensors reads it, load_state_dict takes it")
        print("" if result.final is None else result.final.table())
    return result.final


if __name__ == "__main__":
    with initialize():
        main()
