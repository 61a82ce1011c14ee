"""Stopping a run from outside: SIGTERM and Ctrl-C let the step end and a checkpoint be written."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from depthaware_uda.distributed import gather, world_size

__all__ = ["Interruption", "TrainingInterrupted"]


class TrainingInterrupted(SystemExit):
    """Training was asked to stop; its checkpoint is written. Uncaught, it ends the process with its message."""


class Interruption:
    """Within a ``with``, note SIGTERM and SIGINT instead of ending; a second SIGINT interrupts at once.

    A signal that came too late, when the run was ending anyway, is raised again on leaving, for the handlers before.
    Works in the main thread only, where Python lets signals be handled; elsewhere it notes nothing.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):  # ignored on purpose, or owned by something outside Python
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if kind is None and self.received is not None:
            signal.raise_signal(signal.Signals[self.received])

    def received_anywhere(self) -> str | None:
        """The signal that this process noted, or another one of the group; all of them call this after a step."""
        if world_size() == 1:
            return self.received
        return next((received for received in gather(self.received) if received is not None), None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
