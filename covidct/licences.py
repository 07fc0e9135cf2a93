"""Which licences let a picture be handed on, cropped and cleaned."""

from __future__ import annotations

import re

OPEN = re.compile(r"^(cc-?0|cc-by(-nc)?(-sa)?|public-domain|pd|pdm)$")


def plain(text: str) -> str:
    """``CC_BY``, ``cc-by 4.0`` and ``CC-BY-4.0`` are one licence; ``CC-BY-NC`` is another."""
    short = re.sub(r"[\s_]+", "-", text.strip().lower())
    short = re.sub(r"^creative-commons-|^ccby", lambda found: "cc-by" if found[0] == "ccby" else "cc-", short)
    return re.sub(r"-(v?\d+(\.\d+)*)(-(intl|international|unported|igo|[a-z]{2}))?$", "", short)


def may_share(text: str) -> bool:
    """True only for a stated licence that allows adapted copies; no-derivatives, unstated and unknown do not."""
    return bool(OPEN.match(plain(text)))
