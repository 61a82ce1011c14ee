"""One process of `run.py scale`: images per second of the DAF step on its share of the batch."""

from __future__ import annotations

import argparse
import json
import time
from statistics import median

import torch
from measure import batches_on, samples
from run import network, sizes

from depthaware_uda import DAFConfig, DAFTrainer
from depthaware_uda.data import InMemory
from depthaware_uda.distributed import barrier, initialize, is_writer, world_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--network", default="resnet101")
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    args.device = "cuda" if torch.cuda.is_available() else "cpu"
    with initialize():
        data = InMemory(samples(1, (64, 96), (64, 96)))
        config = DAFConfig.reference(batch_size=world_size())
        trainer = DAFTrainer(network(args), data, data, config, progress=False)
        batches = batches_on(trainer.device, sizes(args), 1)
        times = []
        for _ in range(args.repeat + 1):
            began = when_all_are_done()
            trainer.step(**batches)
            times.append(when_all_are_done() - began)
        seconds = median(times[1:])
        if is_writer():
            print(
                json.dumps(
                    {"processes": world_size(), "seconds": seconds, "images_per_second": 2 * world_size() / seconds}
                )
            )


def when_all_are_done() -> float:
    """Wait until every process and its device are idle, and return the time."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    barrier()
    return time.perf_counter()


if __name__ == "__main__":
    main()
