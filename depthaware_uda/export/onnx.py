"""Export to ONNX files, each compared with its network before it is kept."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from depthaware_uda.export.program import export_program
from depthaware_uda.files import atomic_path
from depthaware_uda.labels import get_label_space

__all__ = ["export_onnx"]

_MODULES = ("onnx", "onnxscript", "onnxruntime")


def export_onnx(
    model: nn.Module,
    path: str | Path,
    size: tuple[int, int],
    *,
    full_size: bool = False,
    dynamic_size: bool = True,
    tolerance: float = 1e-4,
) -> Path:
    """Write a model as an ONNX file; the file is kept only if onnxruntime computes the same as the model.

    Its input is ``image``, its outputs are ``logits`` and ``inverse_depth`` (if the model has depth). The metadata name
    the classes and describe input and outputs.

    Args:
        model: Any module that maps images to `SegDepthOutput`.
        path: File to write, usually ``.onnx``.
        size: (height, width) that it is traced with.
        full_size: As in `export_program`.
        dynamic_size: As in `export_program`.
        tolerance: Largest difference from the model's output, relative to its largest value if that is above 1.

    Returns:
        The path.

    Raises:
        ImportError: onnx, onnxscript or onnxruntime is not installed.
        TypeError: As in `export_program`.
        ValueError: As in `export_program`; or onnxruntime computes something else, in which case no file is written.
    """
    if lacking := [name for name in _MODULES if importlib.util.find_spec(name) is None]:
        raise ImportError(f"export_onnx needs {', '.join(lacking)}: pip install {' '.join(lacking)}")
    program = export_program(model, size, full_size=full_size, dynamic_size=dynamic_size)
    names = ["logits", "inverse_depth"][: len(program.graph_signature.user_outputs)]
    remedy = "; try dynamic_size=False, which fixes height and width" if dynamic_size else ""
    try:
        exported: Any = torch.onnx.export(
            program, input_names=["image"], output_names=names, dynamo=True, verbose=False
        )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(f"torch could not turn this network into ONNX: {error}{remedy}") from error
    exported.model.metadata_props.update(_metadata(model))
    sizes = {(1, *size), (2, *size)}
    if dynamic_size:
        sizes |= {(1, size[0] + 32, 2 * size[1]), (1, size[0] + 33, size[1] + 17)}
    with atomic_path(path) as partial:
        exported.save(partial, external_data=False)
        worst = max(_difference(program, partial, (count, 3, *rest)) for count, *rest in sorted(sizes))
        if not worst <= tolerance:
            raise ValueError(
                f"onnxruntime and the model differ by {worst:.2g}, more than the tolerance of {tolerance:g}; "
                f"no file was written{remedy}"
            )
    return Path(path)


def _metadata(model: nn.Module) -> dict[str, str]:
    space = getattr(model, "label_space", None)
    about = {
        "input": "RGB in 0..1, float32, (N, 3, H, W); normalised inside",
        "logits": "class scores before softmax, (N, C, h, w)",
        "inverse_depth": "655.36 / (metres + 0.01), (N, 1, h, w)",
    }
    return about if space is None else {**about, "label_space": json.dumps(get_label_space(space).to_dict())}


def _difference(program: ExportedProgram, path: Path, shape: tuple[int, ...]) -> float:
    """Largest difference between outputs of a program and an ONNX file for random images; infinite if shapes differ."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = program.module()(image)
    found = session.run(None, {"image": image.numpy()})
    if any(ours.shape != tuple(theirs.shape) for ours, theirs in zip(found, expected, strict=True)):
        return float("inf")
    differences = [
        float(np.abs(ours - theirs.numpy()).max() / max(1.0, float(theirs.abs().max())))
        for ours, theirs in zip(found, expected, strict=True)
    ]
    return max(differences)
