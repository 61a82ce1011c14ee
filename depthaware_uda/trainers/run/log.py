"""The log of a run: JSON lines always, TensorBoard where it is installed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from depthaware_uda.files import atomic_path, expecting, flush, parse_json, read_text

__all__ = ["LossMeans", "RunLog", "read_log"]

LOG_FILE = "log.jsonl"


def read_log(run_folder: str | Path) -> list[dict[str, Any]]:
    """Records of a run folder, in order: each has a ``step`` and named numbers.

    What a kill or a power cut left half written at the end is passed over.

    Raises:
        ValueError: A record before that is damaged.
    """
    path = Path(run_folder) / LOG_FILE
    if not path.exists():
        return []
    *lines, _ = read_text(path).split("\n")
    records: list[dict[str, Any]] = []
    torn: ValueError | None = None
    for number, line in enumerate(lines, 1):
        try:
            record = _record(line, f"{path}, line {number}")
        except ValueError as error:
            torn = torn or error
            continue
        if torn is not None:
            raise torn
        records.append(record)
    return records


def _record(line: str, place: str) -> dict[str, Any]:
    with expecting("a record of a log", place):
        record = dict(parse_json(line, place))
        return {"step": int(record.pop("step")), **record}


class LossMeans:
    """Means of named losses since they were last taken. Sums stay on the device: only reading them waits for it."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor | float] = {}
        self.count = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Add the losses of a step."""
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + loss
        self.count += 1

    def take(self) -> dict[str, float]:
        """The means; afterwards counting starts over."""
        # Without a count, all steps were bad ones that were left out.
        means = {name: float(total) / self.count for name, total in self.sums.items() if self.count}
        self.sums, self.count = {}, 0
        return means

    def state_dict(self) -> dict[str, Any]:
        """JSON-ready state, for checkpoints between two records."""
        return {"count": self.count, "sums": {name: float(total) for name, total in self.sums.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.count, self.sums = int(state["count"]), dict(state["sums"])


class RunLog:
    """Append records to `log.jsonl` and to TensorBoard event files of a run folder; without a folder only keep them.

    Args:
        folder: The run folder, or None.
        step: Records after this step are dropped: a resumed run writes them again.
        write: False reads what the folder has, and writes nothing there.
    """

    def __init__(self, folder: Path | None, step: int, *, write: bool = True) -> None:
        self.folder = folder if write else None
        self.records: list[dict[str, Any]] = []
        self._board: Any = None
        if folder is None:
            return
        self.records = [record for record in read_log(folder) if record["step"] <= step]
        if not write:
            return
        with atomic_path(folder / LOG_FILE) as partial:
            partial.write_text("".join(json.dumps(record) + "\n" for record in self.records), encoding="utf-8")
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Add a record of named values at a step."""
        record = {"step": step, **values}
        self.records.append(record)
        if self.folder is not None:
            with (self.folder / LOG_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(name, value, step)

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """Show a picture (H, W, 3) at a step in TensorBoard; without TensorBoard do nothing."""
        if self._board is not None:
            self._board.add_image(name, pixels, step, dataformats="HWC")

    def flush(self) -> None:
        """Bring the records to the disk, so that a checkpoint is never ahead of them after a power cut."""
        if self.folder is not None and (self.folder / LOG_FILE).exists():
            flush(self.folder / LOG_FILE)

    def close(self) -> None:
        """Flush and close the TensorBoard files."""
        if self._board is not None:
            self._board.close()
