"""How a network runs on its device: precision, memory format, compilation, determinism, and its graph in two parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from depthaware_uda.inference import evaluating
from depthaware_uda.models.checkpointing import statistics_kept
from depthaware_uda.precision import autocast
from depthaware_uda.trainers.config import TrainerConfig
from depthaware_uda.types import JointOutput, SegDepthOutput

__all__ = ["Execution", "Output"]

Output = SegDepthOutput | JointOutput


class Execution:
    """Forward and backward passes of a network, as configured.

    The graph is cut at the network's outputs, which are small. A loss goes back to them first, and everything of the
    image's size is freed before the backward pass of the network begins: that is where memory peaks.

    Args:
        model: The network, on its device; the memory format is set on it, and `checkpointing` while a step lasts.
        config: Precision, compilation, checkpointing, determinism.
        device: Where it runs.

    Raises:
        ValueError: `checkpointing` of a model that has no `set_checkpointing`.
    """

    def __init__(self, model: nn.Module, config: TrainerConfig, device: torch.device) -> None:
        self.model, self.config, self.device = model, config, device
        if config.checkpointing != "none" and not hasattr(model, "set_checkpointing"):
            raise ValueError(f"{type(model).__name__} has no set_checkpointing: use checkpointing='none' with it")
        with self.checkpointed():
            pass  # a kind that the network does not offer is an error now, not at the first step
        if device.type == "cuda":
            model.to(memory_format=torch.channels_last)
        self._compiled: Callable[[Tensor], Output] | None = None
        self._behind: dict[str, set[Tensor]] = {}
        """Of a compiled network: the weights behind each output."""
        self._cuts: list[dict[str, tuple[Tensor, Tensor]]] = []
        """Of each forward pass: its outputs, and the leaves that losses see in their place."""
        self._spent: list[Tensor] = []
        """Leaves of forward passes whose backward pass is done."""

    def autocast(self) -> torch.autocast:
        """The context in which a network computes in the configured precision."""
        return autocast(self.device, self.config.precision)

    def forward(self, network: Callable[[Tensor], Output], image: Tensor) -> Output:
        """The outputs of a network, at its own stride, as leaves of a new graph."""
        if self.device.type == "cuda":
            image = image.contiguous(memory_format=torch.channels_last)
        if self.config.compile:
            if self._compiled is None:
                self._behind = self._weights_behind(network, image[:1])
                # Not `model.compile()`: evaluation, at other sizes and in another mode, compiles nothing. Each size has
                # kernels of its own: those for any size, which torch would make from the second on, are slower.
                self._compiled = torch.compile(network, dynamic=False)
            network = self._compiled
        with self.autocast():
            output = network(image)
        # A map without a graph, such as the depth of a frozen network, is left as it is.
        maps = {name: value for name, value in output._asdict().items() if value is not None and value.requires_grad}
        leaves = {name: value.detach().requires_grad_() for name, value in maps.items()}
        self._cuts.append({name: (maps[name], leaves[name]) for name in maps})
        cut: Output = output._replace(**leaves)
        return cut

    def backward(self, loss: Tensor, *, inputs: Iterable[Tensor] | None = None) -> None:
        """Add the gradients of a loss: of `inputs`, or of everything, the network's weights included.

        Raises:
            RuntimeError: A loss of the same forward pass went back before: its graph is gone.
        """
        torch.autograd.backward(loss, inputs=None if inputs is None else list(inputs))
        if inputs is not None:
            return
        if any(leaf.grad is not None for leaf in self._spent):
            raise RuntimeError(
                "two losses of one forward pass went back through the network, one after the other: its graph is gone "
                "after the first; call backward once, with their sum"
            )
        waiting = []
        for cut in self._cuts:
            known = {name: (output, leaf.grad) for name, (output, leaf) in cut.items() if leaf.grad is not None}
            if not known:
                waiting.append(cut)
                continue
            untouched = [weight for weight in self._unreached(known) if weight.grad is None]
            with nullcontext() if self.config.checkpointing == "none" else statistics_kept(self.model):
                outputs, gradients = zip(*known.values(), strict=True)
                torch.autograd.backward(outputs, gradients)
            for weight in untouched:
                weight.grad = None
            for _, leaf in cut.values():
                leaf.grad = None
                self._spent.append(leaf)
        self._cuts = waiting

    def _weights_behind(self, network: Callable[[Tensor], Output], image: Tensor) -> dict[str, set[Tensor]]:
        """The weights behind each output, from the graph of a forward pass that leaves no trace."""
        with evaluating(self.model), torch.enable_grad(), self.autocast():
            return {name: _leaves(value) for name, value in network(image)._asdict().items() if value is not None}

    def _unreached(self, known: Iterable[str]) -> set[Tensor]:
        """Weights behind the other outputs alone: a compiled network gives them zeros, which would let them decay."""
        reached = [self._behind.get(name, set()) for name in known]
        return set().union(*self._behind.values()).difference(*reached)

    @contextmanager
    def checkpointed(self) -> Iterator[None]:
        """Within it the network forgets activations as `checkpointing` says, afterwards none."""
        set_checkpointing = getattr(self.model, "set_checkpointing", lambda checkpointing: None)
        set_checkpointing(self.config.checkpointing)
        try:
            yield
        finally:
            set_checkpointing("none")  # a loop of the user's own would count batch norm's statistics twice

    @contextmanager
    def step(self) -> Iterator[None]:
        """Within it checkpointing and determinism are as configured; graphs that no loss reached are dropped."""
        mode = torch.get_deterministic_debug_mode()
        benchmark = torch.backends.cudnn.benchmark
        if self.config.deterministic:
            torch.set_deterministic_debug_mode("warn")
        torch.backends.cudnn.benchmark = not self.config.deterministic
        try:
            with self.checkpointed():
                yield
        finally:
            torch.set_deterministic_debug_mode(mode)
            torch.backends.cudnn.benchmark = benchmark
            self._cuts.clear()
            self._spent.clear()


def _leaves(output: Tensor) -> set[Tensor]:
    """The leaves of an output's graph that gradients go to."""
    nodes, seen, leaves = [output.grad_fn], set(), set()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            leaves |= {node.variable} if hasattr(node, "variable") else set()
            nodes += [following for following, _ in node.next_functions]
    return leaves
