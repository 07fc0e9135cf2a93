"""What `covidct audit` says of a folder, in numbers, and whether one encoding removes the container shortcut.

    python -m benchmarks.audit DIR [--no-personal] [--uniform]

Prints seconds per step, findings by kind and severity, labels sent to review, every shortcut AUC with its interval and
per negative source; --uniform writes all pictures as 8-bit grey PNG first and scores the container again.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections import Counter
from pathlib import Path

from covidct import audit, pictures
from covidct.checks import container, intake, people, shortcuts
from covidct.checks.model import Finding, Folder


def uniform(folder: Folder, target: Path) -> Folder:
    """The same items with every picture in the dataset's own encoding."""
    items = []
    for number, item in enumerate(folder.items):
        path = target / f"{number}.png"
        path.write_bytes(pictures.encode(folder.grey(number)))
        items.append(dataclasses.replace(item, path=path))
    return Folder(folder.root, items, folder.layout)


def summary(folder: Folder, findings: list[Finding]) -> None:
    """The numbers on stdout."""
    for (kind, severity), count in sorted(Counter((f.kind, f.severity) for f in findings).items()):
        images = len({item for f in findings if (f.kind, f.severity) == (kind, severity) for item in f.items})
        print(f"{kind:24} {severity:8} {count:4} findings, {images:4} images")
    print("labels sent to review:", folder.metrics.get("labels_to_review"))
    for name, row in folder.metrics.get("shortcuts", {}).items():
        parts = ", ".join(f"{source} {cell['auc']:.3f}" for source, cell in row["by_source"].items())
        print(f"{name:13} AUC {row['auc']:.3f} ({row['interval'][0]}-{row['interval'][1]}) {row['model']}; {parts}")
    print("not checked:", folder.not_checked or "nothing")


def main() -> None:
    """Parse the command line, run the audit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--no-personal", action="store_true", help="do not read burned-in text")
    parser.add_argument("--uniform", action="store_true", help="score the container after one encoding for all")
    options = parser.parse_args()
    begin = time.perf_counter()
    folder = intake.read_folder(options.folder)
    print(f"{len(folder.items)} images read in {time.perf_counter() - begin:.1f} s")
    if options.uniform:
        with tempfile.TemporaryDirectory() as name:
            same = uniform(folder, Path(name))
            facts, found = container.check(same)
            keys = [people.case_key(item) for item in same.items]
            groups = people.components(len(same.items), [[item.patient for item in same.items], keys], [])
            shortcuts.check(same, facts, groups, only=("container",))
            print(f"after one encoding: {len(found)} findings, container {same.metrics['shortcuts']['container']}")
        return
    begin = time.perf_counter()
    findings = audit.audit(folder, ocr=not options.no_personal)
    print(f"audited in {time.perf_counter() - begin:.1f} s")
    summary(folder, findings)


if __name__ == "__main__":
    main()
