"""Writes PNG files with 16 bits per channel, which Pillow cannot write in colour; uses PNG's row filters."""

import struct
import zlib
from pathlib import Path

import numpy as np


def write_png16(path: Path, pixels: np.ndarray) -> Path:
    """Write (H, W) or (H, W, 3); every other row is stored as the difference from the row above (filter 2)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = rows.copy()
    filtered[1::2] -= above[1::2]
    kinds = (np.arange(height, dtype=np.uint8) % 2 * 2)[:, None]
    data = zlib.compress(np.hstack([kinds, filtered]).tobytes())
    header = struct.pack(">IIBBBBB", width, height, 16, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path
