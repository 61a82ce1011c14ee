"""The pieces in a plain PyTorch loop: depth head, fusion, losses, discriminator and ranking, without a trainer.

    python examples/plain_loop.py [--steps 300] [--smoke]

The network is torchvision's ResNet-18 with the depth branch on its four stages. A step is DAF's: supervised on rendered
streets, adversarial on unlabelled ones of another style. Afterwards the target is ranked by depth-aware entropy, and
the network is evaluated: both take any module that gives `SegDepthOutput`.

One process trains. For several, wrap the network in DistributedDataParallel, and give each loader a DistributedSampler;
the library's trainers do this themselves.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models import resnet18

from depthaware_uda import DepthAttentionHead, DepthAwareFusion, EntropyRanker, EvaluationResult, evaluate
from depthaware_uda.data import MiniCity, Unlabelled, collate
from depthaware_uda.depth import to_inverse_depth
from depthaware_uda.losses import SOURCE, TARGET, berhu, cross_entropy, domain_loss
from depthaware_uda.models import ASPPv2, DepthGate, create_discriminator, resize_output
from depthaware_uda.types import Batch, SampleDataset, SegDepthOutput

CLASSES = 7


class Network(nn.Module):
    """ResNet-18 whose depth features gate its last stage."""

    def __init__(self) -> None:
        super().__init__()
        trunk = resnet18()
        self.stem = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
        self.stages = nn.ModuleList([trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4])
        self.depth_head = DepthAttentionHead([64, 128, 256, 512], output_stage=1)
        self.gate = DepthGate(self.depth_head.out_channels, 512)
        self.classifier = ASPPv2(512, CLASSES, dilations=(1, 2))

    def forward(self, image: Tensor) -> SegDepthOutput:
        """Depth from all stages, classes from the last one."""
        features = list(itertools.accumulate(self.stages, lambda x, stage: stage(x), initial=self.stem(image)))[1:]
        inverse_depth, depth_features = self.depth_head(features)
        return SegDepthOutput(self.classifier(self.gate(features[-1], depth_features)), inverse_depth)


def endless(dataset: SampleDataset, batch_size: int) -> Iterator[Batch]:
    while True:
        yield from DataLoader(dataset, batch_size, shuffle=True, drop_last=True, collate_fn=collate)


def main(arguments: Sequence[str] | None = None) -> EvaluationResult:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--smoke", action="store_true", help="two steps on a few small images")
    args = parser.parse_args(arguments)
    count, batch_size, size, steps = (3, 2, (48, 64), 2) if args.smoke else (1000, 4, (96, 160), args.steps)
    source = MiniCity(count, size=size, labels="common7")
    target, val = (MiniCity(count, style="real", size=size, labels="common7", seed=seed) for seed in (1, 2))

    torch.manual_seed(0)
    network, fusion, discriminator = Network(), DepthAwareFusion(), create_discriminator(CLASSES, base_channels=32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    judge = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.9, 0.99))
    batches = zip(endless(source, batch_size), endless(Unlabelled(target), batch_size), strict=True)
    for step, (labelled, photographs) in enumerate(itertools.islice(batches, steps), 1):
        seen = resize_output(network(labelled["image"]), size)
        aligned = resize_output(network(photographs["image"]), size)
        segmentation = cross_entropy(seen.logits, labelled["label"])
        depth = berhu(seen.inverse_depth, to_inverse_depth(labelled["depth"]))
        map_source, map_target = fusion(*seen), fusion(*aligned)
        adversarial = domain_loss(discriminator(map_target), SOURCE)  # target maps should look like the source
        optimizer.zero_grad()
        (segmentation + 5e-3 * depth + 0.01 * adversarial).backward()
        optimizer.step()

        judge.zero_grad()  # including gradients from the adversarial loss
        own = domain_loss(discriminator(map_source.detach()), SOURCE)
        (own + domain_loss(discriminator(map_target.detach()), TARGET)).backward()
        judge.step()
        if step % 20 == 0 or step == steps:
            print(f"step {step}: segmentation {segmentation:.3f}, depth {depth:.2f}, adversarial {adversarial:.3f}")

    split = EntropyRanker(network).rank(target).split()
    print(f"{len(split.easy)} easy and {len(split.hard)} hard images; the hardest is {split.hard[-1]}")
    result = evaluate(network, val)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
