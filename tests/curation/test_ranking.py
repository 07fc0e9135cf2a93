"""A model in the loop: order, suggestions only where the text is silent, and refusals in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from curation import label
from curation.records import Suggestion
from tests.curation.test_tasks import candidate

torch = pytest.importorskip("torch")

from curation.ranking import RankingError, ranker, suggested  # noqa: E402
from models import backbones, checkpoint  # noqa: E402


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier with random weights."""
    torch.manual_seed(0)
    model = backbones.build("crnet", 2, size=32)
    folder = tmp_path_factory.mktemp("runs") / "small"
    card = checkpoint.make_card(
        backbone="crnet",
        class_names=["NonCOVID", "COVID"],
        preprocessing={"size": 32, "mean": [0.5], "std": [0.25]},
        recipe={},
        metrics={},
    )
    checkpoint.save(folder, model, card)
    return folder


def test_each_chest_ct_panel_gets_the_score_of_its_own_pixels(run: Path, tmp_path: Path) -> None:
    from models import engine
    from models.reading import evaluation

    pixels = np.random.default_rng(0).integers(0, 255, (100, 200), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    found = ranker(str(run))
    shown = candidate()
    scores = found.probabilities(pixels, shown)
    model, card = checkpoint.load(run)
    x0, y0, x1, y1 = shown.panels[1].box
    part = Image.fromarray(pixels[y0:y1, x0:x1]).resize((32, 32), Image.Resampling.BILINEAR)
    alone = engine.probabilities(model, torch.from_numpy(np.array(part))[None, None], evaluation(card))
    assert scores[1] == pytest.approx(float(alone[0, 1]), abs=1e-5)
    opinion = found.opinion(shown, tmp_path / "x.png")
    assert opinion.priority == pytest.approx(max(scores[0] * 0.9, scores[1] * 0.8), abs=1e-6)
    assert opinion.labels == ("COVID", "COVID")  # the text's, whatever the model says
    assert opinion.version.startswith("small@") and len(opinion.version) == len("small@") + 8
    no_ct = candidate(panels=tuple(p.model_copy(update={"modality": 0.1}) for p in shown.panels))
    nothing = found.opinion(no_ct, tmp_path / "x.png")
    assert nothing.priority == 0.0 and "no panel looks like a chest CT" in nothing.words


def test_the_model_suggests_only_where_the_text_is_silent_and_it_is_sure(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.zeros((100, 200), np.uint8)).save(tmp_path / "x.png")
    silent = Suggestion(label="unclear")
    shown = candidate(panels=tuple(p.model_copy(update={"suggestion": silent}) for p in candidate().panels))
    found = ranker(str(run))
    monkeypatch.setattr(found, "probabilities", lambda picture, candidate: [0.95, 0.5])
    opinion = found.opinion(shown, tmp_path / "x.png")
    assert opinion.labels == ("COVID", "unclear") and "look for evidence" in opinion.words
    assert [suggested(p) for p in (0.0, 0.09, 0.11, 0.89, 0.9)] == [
        "NonCOVID",
        "NonCOVID",
        "unclear",
        "unclear",
        "COVID",
    ]


def test_what_is_no_classifier_is_refused_in_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RankingError, match="--model nothing"):
        ranker("nothing", tmp_path)
    result = CliRunner().invoke(label.app, ["push", "--model", str(tmp_path), "--candidates", str(tmp_path)])
    assert result.exit_code == 1 and "--model" in caplog.text
