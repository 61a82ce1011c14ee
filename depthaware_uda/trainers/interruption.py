"""Stopping a run from outside: SIGTERM and Ctrl-C let the step end and a checkpoint be written."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interruption", "TrainingInterrupted"]


class TrainingInterrupted(SystemExit):
    """Training was asked to stop; its checkpoint is written. Uncaught, it ends the process with its message."""


class Interruption:
    """Within a ``with``, note SIGTERM and SIGINT instead of dying of them; a second SIGINT interrupts at once.

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

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
