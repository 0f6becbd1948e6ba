"""Make the one picture that the device tests cannot draw themselves: a CMYK JPEG, red on the left, blue on the right.

Run with Pillow: `.venv/bin/python tests/device/data/make_pictures.py`.
"""

from pathlib import Path

import numpy as np
from PIL import Image

pixels = np.empty((8, 16, 3), np.uint8)
pixels[:, :8] = (200, 30, 40)
pixels[:, 8:] = (30, 60, 200)
Image.fromarray(pixels).convert("CMYK").save(Path(__file__).parent / "cmyk.jpg", quality=90)
