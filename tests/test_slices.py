"""Computing a few rows at a time gives the same as the whole map."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from depthaware_uda import SegDepthOutput
from depthaware_uda.models import resize_output, slices
from depthaware_uda.models.slices import map_rows, row_slices

SIZES = [(64, 96), (16, 24), (33, 97), (5, 7), (1, 1), (40, 24)]


def output(size: tuple[int, int] = (16, 24), *, smooth: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(2, 7, 4, 6, generator=generator, dtype=dtype)
    rough = torch.randn(2, 7, *size, generator=generator, dtype=dtype)
    return F.interpolate(coarse, size=size, mode="bicubic") + (0 if smooth else 1) * rough


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("budget", [1, 2000, 2**22])
def test_rows_together_are_the_resized_map(size: tuple[int, int], budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_CACHE_BYTES", budget)
    maps = SegDepthOutput(output(), output((11, 13))[:, :1])
    expected = resize_output(maps, size)
    seen = [rows for rows, _ in row_slices(maps, size)]
    assert [rows.start for rows in seen[1:]] == [rows.stop for rows in seen[:-1]]
    torch.testing.assert_close(map_rows(maps, size, lambda part: part.logits), expected.logits, rtol=1e-5, atol=1e-6)
    depth = map_rows(maps, size, lambda part: part.inverse_depth)  # type: ignore[arg-type,return-value]
    torch.testing.assert_close(depth, expected.inverse_depth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(9, 14), (1, 5), (4, 1), (3, 4)])
def test_rows_of_tiny_maps_are_resized_as_the_whole(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_CACHE_BYTES", 1)
    maps = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    rows = torch.cat([part.logits for _, part in row_slices(SegDepthOutput(maps, None), size)], 2)
    torch.testing.assert_close(rows, resize_output(SegDepthOutput(maps, None), size).logits)
