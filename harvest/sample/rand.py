"""Named random streams: what one part of the corpus draws never shifts what another part draws.

That independence is what keeps the drawn data free of shortcuts: the style of a picture (size, window, crop, marks,
compression) comes from a stream that never sees the patient's diagnosis.
"""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *names: object) -> np.random.Generator:
    """Random stream of one named part; the same seed and names give the same numbers on every machine."""
    return np.random.default_rng([seed & 0xFFFFFFFF, zlib.crc32("/".join(map(str, names)).encode())])
