"""The pieces in PyTorch Lightning: DAF as a LightningModule with two optimisers and manual optimisation.

    pip install lightning && python examples/lightning_module.py [--steps 300] [--smoke]

Lightning owns the loop, devices, precision and checkpoints; the step uses the library's losses and maps. Other
frameworks that own the loop are used in the same way.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from depthaware_uda import DepthAwareFusion, EvaluationResult, create_model, evaluate
from depthaware_uda.data import MiniCity, Unlabelled, collate
from depthaware_uda.depth import to_inverse_depth
from depthaware_uda.losses import SOURCE, TARGET, berhu, cross_entropy, domain_loss
from depthaware_uda.models import create_discriminator, resize_output
from depthaware_uda.types import Batch

try:
    import lightning
except ImportError as error:
    raise SystemExit("this example needs PyTorch Lightning: pip install lightning") from error


class DepthAwareAdaptation(lightning.LightningModule):
    """Supervised on the batch "source"; the batch "target" is aligned to it."""

    def __init__(self, model: nn.Module, classes: int, *, adversarial_weight: float = 0.01) -> None:
        super().__init__()
        self.automatic_optimization = False  # two optimisers, each with its own loss
        self.model, self.fusion = model, DepthAwareFusion()
        self.discriminator = create_discriminator(classes, base_channels=32)
        self.adversarial_weight = adversarial_weight

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One for the network, one for the discriminator."""
        judge = torch.optim.Adam(self.discriminator.parameters(), lr=1e-3, betas=(0.9, 0.99))
        return [torch.optim.AdamW(self.model.parameters(), lr=1e-3), judge]

    def training_step(self, batch: dict[str, Batch], index: int) -> None:
        """One step of DAF."""
        source, target = batch["source"], batch["target"]
        optimizer, judge = self.optimizers()
        size = source["image"].shape[-2:]
        seen = resize_output(self.model(source["image"]), size)
        aligned = resize_output(self.model(target["image"]), size)
        losses = {
            "segmentation": cross_entropy(seen.logits, source["label"]),
            "depth": berhu(seen.inverse_depth, to_inverse_depth(source["depth"])),
        }
        map_source, map_target = self.fusion(*seen), self.fusion(*aligned)
        losses["adversarial"] = domain_loss(self.discriminator(map_target), SOURCE)
        optimizer.zero_grad()
        supervised = losses["segmentation"] + 5e-3 * losses["depth"]
        self.manual_backward(supervised + self.adversarial_weight * losses["adversarial"])
        optimizer.step()

        judge.zero_grad()  # including gradients from the adversarial loss
        losses["discriminator"] = domain_loss(self.discriminator(map_source.detach()), SOURCE)
        losses["discriminator"] += domain_loss(self.discriminator(map_target.detach()), TARGET)
        self.manual_backward(losses["discriminator"])
        judge.step()
        self.log_dict(
            {name: loss.detach() for name, loss in losses.items()}, prog_bar=True, batch_size=len(seen.logits)
        )


def main(arguments: Sequence[str] | None = None) -> EvaluationResult:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--smoke", action="store_true", help="two steps on a few small images")
    args = parser.parse_args(arguments)
    count, size, steps = (3, (48, 64), 2) if args.smoke else (1000, (96, 160), args.steps)
    source = MiniCity(count, size=size, labels="common7")
    target, val = (MiniCity(count, style="real", size=size, labels="common7", seed=seed) for seed in (1, 2))

    network = {"channels": (32, 64, 96, 128), "stem_width": 16}
    model = create_model(
        "timm/resnet10t", 7, label_space="common7", backbone_arguments=network, dilations=(1, 2, 4), seed=0
    )
    options: dict[str, Any] = {"batch_size": 2, "shuffle": True, "collate_fn": collate}
    loaders = {"source": DataLoader(source, **options), "target": DataLoader(Unlabelled(target), **options)}
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_steps=2 * steps, max_epochs=-1, **quiet)  # Lightning counts both optimisers
    trainer.fit(DepthAwareAdaptation(model, classes=7), loaders)
    result = evaluate(model, val)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
