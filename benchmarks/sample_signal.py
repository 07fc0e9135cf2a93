"""Does the drawn corpus teach what it should? CRNet, border-only and metadata-only AUC over corpus seeds.

    python benchmarks/sample_signal.py --seeds 10 [--epochs 15]

For each seed a corpus is drawn; its panels (taken by truth, not by the pipeline) are split by patient, a CRNet is
trained from scratch on three quarters and scored on the unseen patients. The two baselines get patient-grouped
cross-validation.
"""

from __future__ import annotations

import argparse
import json
import time

import cv2
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from harvest.sample.signal import Shown, baselines, panels
from models.backbones import build


def train(shown: list[Shown], seed: int, epochs: int, rate: float) -> float:
    """AUC of a CRNet on the patients of one of four folds."""
    labels = np.array([s.label for s in shown])
    groups = [s.patient_id for s in shown]
    fit, test = next(StratifiedGroupKFold(4, shuffle=True, random_state=seed).split(labels, labels, groups))
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    small = np.stack([cv2.resize(s.pixels, (256, 256), interpolation=cv2.INTER_AREA) for s in shown])
    model = build("crnet", classes=2)
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=epochs)
    for _ in range(epochs):
        model.train()
        for batch in np.array_split(rng.permutation(fit), max(1, len(fit) // 16)):
            views = []
            for i in batch:
                y, x = rng.integers(0, 33, 2)
                view = small[i, y : y + 224, x : x + 224]
                views.append(view[:, ::-1] if rng.random() < 0.5 else view)
            loss = torch.nn.functional.cross_entropy(_logits(model, np.stack(views)), torch.tensor(labels[batch]))
            adam.zero_grad()
            loss.backward()
            adam.step()
        plan.step()
    model.eval()
    with torch.no_grad():
        plain = np.stack([cv2.resize(s, (224, 224), interpolation=cv2.INTER_AREA) for s in small[test]])
        scores = _logits(model, plain).softmax(1)[:, 1].numpy()
    return float(roc_auc_score(labels[test], scores))


def _logits(model: torch.nn.Module, pixels: np.ndarray) -> torch.Tensor:
    batch = (torch.from_numpy(pixels.copy()).float()[:, None] / 255 - 0.5) / 0.25
    with torch.autocast("cpu", torch.bfloat16):
        return model(batch.contiguous(memory_format=torch.channels_last)).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--rate", type=float, default=3e-4)
    given = parser.parse_args()
    rows = []
    for seed in range(given.first, given.first + given.seeds):
        begin = time.monotonic()
        shown = panels(seed)
        row = {"seed": seed, "images": len(shown), "covid": sum(s.label for s in shown)} | baselines(shown)
        row["crnet"] = train(shown, seed, given.epochs, given.rate)
        row["seconds"] = round(time.monotonic() - begin, 1)
        rows.append(row)
        print(json.dumps(row), flush=True)
    for name in ("crnet", "border", "metadata"):
        values = [row[name] for row in rows]
        print(f"{name}: mean {np.mean(values):.3f}, min {min(values):.3f}, max {max(values):.3f}, {len(rows)} seeds")


if __name__ == "__main__":
    main()
