"""The whole method in minutes: source only, DAF, ISL, ranking, IDA, each evaluated on held-out target images.

A network learns from rendered streets (MiniCity) and is adapted to another domain without using its labels: to
MiniCity's other style, or to real photographs with ``--target camvid --target-root FOLDER``. It is compared with a
control that trains on the source alone for as many steps. Prints one table and writes pictures, curves, the split and
the final model to the output folder. An interrupted run resumes when it is started again. With torchrun, several
processes share the work (``torchrun --nproc_per_node 2 examples/quickstart.py``); the batch size must be a multiple of
their number.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import quickstart_setup as setup
from quickstart_pictures import draw_curves, draw_panel, report
from torch import nn

from depthaware_uda import (
    DAFConfig,
    DAFTrainer,
    EntropyRanker,
    EvaluationResult,
    IDAConfig,
    IDATrainer,
    ISLConfig,
    ISLTrainer,
    create_model,
    evaluate,
)
from depthaware_uda.distributed import initialize, is_writer
from depthaware_uda.trainers import Trainer, reestimate_statistics


def main(arguments: Sequence[str] | None = None) -> dict[str, EvaluationResult]:
    args = setup.parse(arguments, __doc__)
    began = time.perf_counter()
    out: Path = args.output
    steps = {stage: max(2, round(count * args.steps)) for stage, count in setup.STEPS.items()}
    source, target, val = setup.load_data(args)
    first, later, adapting = setup.settings(args, source)
    trainer: dict[str, Any] = {"val": val, "augment": setup.augmentation(args), "device": args.device}
    results: dict[str, EvaluationResult] = {}
    models: dict[str, nn.Module] = {}

    def keep(name: str, network: nn.Module, result: EvaluationResult) -> None:
        models[name], results[name] = copy.deepcopy(network), result
        if is_writer():
            print(f"{setup.STAGES[name]}: mIoU {100 * result.miou:.1f}", flush=True)

    def stage(name: str, fitted: Trainer[Any]) -> None:
        final = fitted.fit().final
        assert final is not None  # there is validation data
        keep(name, fitted.model, final)

    model = create_model("timm/resnet10t", setup.CLASSES, label_space=setup.LABELS, seed=args.seed, **setup.NETWORK)
    alone = DAFConfig.source_only(**first, max_steps=steps["source"])
    stage("source", DAFTrainer(model, source, target, alone, out / "source", **trainer))

    alone = DAFConfig.source_only(**later, max_steps=steps["daf"] + steps["isl"] + steps["ida"])
    stage("control", DAFTrainer(copy.deepcopy(model), source, target, alone, out / "control", **trainer))
    control = copy.deepcopy(models["control"])
    reestimate_statistics(control, target)
    keep("adabn", control, evaluate(control, val))

    daf = DAFConfig(**adapting, **setup.ADVERSARY, max_steps=steps["daf"])
    stage("daf", DAFTrainer(model, source, target, daf, out / "daf", **trainer))

    refresh = max(1, steps["isl"] // 2)
    pseudo = setup.PSEUDO_LABELS[args.target]
    isl = ISLConfig(**adapting, **pseudo, max_steps=steps["isl"], schedule_steps=None, refresh_every=refresh)
    stage("isl", ISLTrainer(model, target, isl, out / "isl", source=source, **trainer))

    ranking = EntropyRanker(model, fraction=0.66).rank(target)
    split = ranking.split()
    if is_writer():
        ranking.save(out / "ranking.json")
        split.save(out / "split")
    ida = IDAConfig(**adapting, **setup.ADVERSARY, max_steps=steps["ida"], schedule_steps=None)
    stage("ida", IDATrainer(model, target, split, ida, out / "ida", source=source, **trainer))

    if is_writer():
        model.save_pretrained(out / "model")
        draw_panel(out, val, models)
        draw_curves(out, steps, results)
        report(out, args, steps, results, time.perf_counter() - began)
    return results


if __name__ == "__main__":
    with initialize():
        main()
