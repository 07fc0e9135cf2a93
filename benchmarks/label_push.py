"""How fast are candidates pushed to a real Label Studio server, and does memory stay the same?

Makes candidates with one small picture each, pushes them with `covidct label push` to the running server of --home, and
prints the rate, the peak memory of pushing at each page, and what a second push (nothing new) and a pull take.

Run:  covidct label serve --candidates WORK/candidates --home WORK/label-studio
      python -m benchmarks.label_push --work WORK --home WORK/label-studio --count 100000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from curation import cards, labelstudio, pulling, server
from curation.records import Candidate, PanelProposal, PixelBox, Suggestion
from curation.shelf import Shelf
from harvest.records import Figure, Mention, write_jsonl

SIZE = (320, 240)
STATM = Path("/proc/self/statm")


def resident() -> float:
    """MB of this process now."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def candidates(count: int) -> Iterator[Candidate]:
    """Candidates like the harvest's: two panels, a caption of 600 letters, three mentions, a mask."""
    caption = "Axial chest CT images of a patient with confirmed COVID-19 pneumonia: ground-glass opacities. " * 6
    said = Suggestion(label="COVID", sentence=caption[:96], patients=("patient 1",))
    panels = tuple(PanelProposal(box=PixelBox(x, 0, x + 158, 240), suggestion=said, modality=0.9) for x in (0, 162))
    for number in range(count):
        figure = Figure(
            figure_id=f"2020.01.01.{number:08d}-p1-1", source="medrxiv", document_id=f"2020.01.01.{number:08d}",
            pixels="native", file="images/one.png", width=SIZE[0], height=SIZE[1], label="Figure 1", caption=caption,
            mentions=tuple(Mention(page=n, offset=n, text=caption[:200]) for n in (1, 2, 3)),
        )  # fmt: skip
        yield Candidate(
            candidate_id=figure.figure_id, figure=figure, file=figure.file, mask="masks/one.png", modality=0.9,
            panels=panels, suggestion=said, priority=round(1 - number / (count + 1), 6), proposed_by="benchmark",
        )  # fmt: skip


def main() -> None:
    """Push, push again, pull; print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--project", default="benchmark")
    arguments = parser.parse_args()
    folder = (arguments.work / "candidates").absolute()
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[10:20, 10:60] = 255
    Image.fromarray(np.random.default_rng(0).integers(0, 255, SIZE[::-1], dtype=np.uint8)).save(
        folder / "images/one.png"
    )
    Image.fromarray(mask).save(folder / "masks/one.png")
    write_jsonl(folder / "candidates.jsonl", candidates(arguments.count))
    running = server.running(arguments.home)
    if not running:
        raise SystemExit(f"no server in {arguments.home}; see the first lines of this file")
    client = labelstudio.connect(running.url, running.token)
    number = labelstudio.find_project(client, arguments.project) or labelstudio.make_project(client, arguments.project)
    labelstudio.serve_pictures(client, number, folder)
    memory: list[float] = []

    def watched() -> Iterator[cards.Card]:
        for n, card in enumerate(cards.cards(cards.Wish(folder, cards.served(folder, folder.parent)))):
            if n % 5000 == 0:
                memory.append(round(resident(), 1))
            yield card

    for what in ("push", "push again"):
        memory.clear()
        start = time.perf_counter()
        counts = labelstudio.push(client, number, watched())
        took = time.perf_counter() - start
        told = {"what": what, **counts, "seconds": round(took, 1), "per second": round(arguments.count / took, 1)}
        print(json.dumps({**told, "MB every 5000": memory}), flush=True)
    start = time.perf_counter()
    with Shelf() as found:
        pulling.pull(labelstudio.annotated(client, number), found)
        print(json.dumps({"what": "pull", "reviews": len(found), "seconds": round(time.perf_counter() - start, 1)}))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    size = sum(p.stat().st_size for p in arguments.home.glob("label_studio.sqlite3*")) / 1e6
    print(json.dumps({"peak MB": round(peak, 1), "data base MB": round(size, 1)}))


if __name__ == "__main__":
    main()
