"""SYNTHIA to Mapillary Vistas (EP3) from start to end: DAF, ISL, ranking, IDA and the table beside the published one.

    python examples/train_synthia_to_mapillary.py --synthia FOLDER --mapillary FOLDER --weights WEIGHTS

The settings are those of the authors' code. WEIGHTS are the initial weights: the `.pth` file of a ResNet-101 trained on
ImageNet (AdvEnt provides DeepLab_resnet_pretrained_imagenet.pth), or a folder of `save_pretrained`. An interrupted run
resumes when it is started again. ``--smoke`` runs everything in a minute, on miniature data in the formats of the real
ones. With torchrun, several processes share the work.
"""

from __future__ import annotations

from collections.abc import Sequence

from synthia_protocols import run

from depthaware_uda import EvaluationResult
from depthaware_uda.distributed import initialize


def main(arguments: Sequence[str] | None = None) -> dict[str, EvaluationResult]:
    return run(__doc__ or "", "mapillary", ("ep3", "ep3-320x640"), arguments)


if __name__ == "__main__":
    with initialize():
        main()
