"""Networks for other runtimes: ONNX files and `torch.export` programs, with the normalisation inside.

Both take RGB in 0..1 of any number and size of images, and return logits and inverse depth, as the model does. ONNX
needs onnx, onnxscript and onnxruntime, the extra ``export``.
"""

from depthaware_uda.export.onnx import export_onnx
from depthaware_uda.export.program import export_program

__all__ = ["export_onnx", "export_program"]
