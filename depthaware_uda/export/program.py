"""Networks as programs of `torch.export`, which run without their Python code."""

from __future__ import annotations

import copy
import math
import operator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._export.serde.serialize import SerializeError
from torch.export import Dim, ExportedProgram

from depthaware_uda.files import atomic_path
from depthaware_uda.inference import evaluating, output_of
from depthaware_uda.models.input_size import is_size, stride_of
from depthaware_uda.models.resize import resize_output
from depthaware_uda.types import SegDepthOutput

__all__ = ["export_program"]


class _Exported(nn.Module):
    """A model as other runtimes call it: plain tensors in and out."""

    def __init__(self, model: nn.Module, *, full_size: bool) -> None:
        super().__init__()
        self.model = model
        self.full_size = full_size

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        output: SegDepthOutput = self.model(image)
        if self.full_size:
            output = resize_output(output, image.shape[-2:])
        return tuple(maps for maps in output if maps is not None)


def export_program(
    model: nn.Module,
    size: tuple[int, int],
    path: str | Path | None = None,
    *,
    full_size: bool = False,
    dynamic_size: bool = True,
) -> ExportedProgram:
    """Trace a model into a program that runs without its Python code.

    ``program.module()(image)`` gives (logits, inverse_depth), or (logits,) for a model without depth;
    ``torch.export.load(path)`` reads it back. A copy on the CPU in float32 and in eval mode is traced; the model itself
    stays as it is.

    Args:
        model: Any module that maps images to `SegDepthOutput`.
        size: Height and width that it is traced with.
        path: File to write, ``.pt2``; None writes none.
        full_size: Resize both maps to the image's size; else they have the network's own stride.
        dynamic_size: Accept other sizes than `size`; the number of images is always free.

    Shape:
        RGB in 0..1 (N, 3, H, W) -> logits (N, C, h, w), inverse depth (N, 1, h', w').

    Raises:
        TypeError: The model returns no `SegDepthOutput`.
        ValueError: `size` is not (height, width), `path` has another suffix, or the model cannot be traced, or saved,
            with free sizes.
    """
    if not is_size(size, least=(stride := stride_of(model))):
        raise ValueError(f"size must be (height, width), both at least {stride}, the network's stride; got {size!r}")
    if path is not None and Path(path).suffix != ".pt2":
        raise ValueError(f"{path}: torch.export.save writes .pt2 files; choose a name that ends in .pt2")
    network = _Exported(copy.deepcopy(model).cpu().float().eval(), full_size=full_size)
    with evaluating(network):
        output_of(network.model, torch.zeros(1, 3, *size))  # a model of another kind is named here, not by the tracer
    free: dict[int, Any] = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC} if dynamic_size else {0: Dim.DYNAMIC}
    try:
        with torch.no_grad():
            program = torch.export.export(
                network, (torch.rand(2, 3, *size),), dynamic_shapes={"image": free}, strict=False
            )
    except (RuntimeError, torch._dynamo.exc.UserError) as error:
        remedy = "try dynamic_size=False, which fixes height and width" if dynamic_size else "it cannot be exported"
        raise ValueError(f"the model could not be traced at {size}: {error}\n{remedy}") from error
    if dynamic_size:
        _check_other_size(network, program, (size[0] + 33, size[1] + 17))
    if path is not None:
        try:
            with atomic_path(path) as partial:
                torch.export.save(_saveable(program), partial)
        except SerializeError as error:
            # A network may compute with its size what the file format does not know.
            raise ValueError(
                f"{path}: this network can be traced with free sizes, but not saved so; pass dynamic_size=False"
            ) from error
    return program


def _check_other_size(network: nn.Module, program: ExportedProgram, size: tuple[int, int]) -> None:
    """ValueError if a program that was traced with free sizes cannot take an odd one, or computes something else."""
    image = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(image)
        try:
            found = program.module()(image)
            same = all(torch.allclose(ours, theirs, 1e-3, 1e-3) for ours, theirs in zip(found, expected, strict=True))
            trouble = "" if same else "it computes something else there"
        except (AssertionError, RuntimeError) as error:
            trouble = str(error)
    if trouble:
        raise ValueError(
            f"this network cannot be traced with free sizes: at {size[0]} x {size[1]}: {trouble}; pass "
            "dynamic_size=False, which fixes height and width"
        )


def _saveable(program: ExportedProgram) -> ExportedProgram:
    """The program with ceil(a / b) of sizes as (a + b - 1) // b, which the file format knows.

    timm's padding "as TensorFlow does" rounds up so; many of its networks pad that way.
    """
    graph = program.graph_module.graph
    for node in graph.find_nodes(op="call_function", target=math.ceil):
        (quotient,) = node.args
        if not isinstance(quotient, torch.fx.Node) or quotient.target is not operator.truediv:
            continue
        above, below = quotient.args
        if not isinstance(above, torch.fx.Node) or not isinstance(below, int):
            continue
        with graph.inserting_before(node):
            more = graph.call_function(operator.add, (above, below - 1))
            whole = graph.call_function(operator.floordiv, (more, below))
        more.meta["val"] = above.meta["val"] + below - 1
        whole.meta["val"] = more.meta["val"] // below
        node.replace_all_uses_with(whole)
        graph.erase_node(node)
        if not quotient.users:
            graph.erase_node(quotient)
    program.graph_module.recompile()
    return program
