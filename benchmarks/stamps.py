"""A real folder of labelled colour pictures: those of Debian's package tuxpaint-stamps-default, by category.

    sudo apt install tuxpaint-stamps-default
    python benchmarks/stamps.py stamps/

Links the pictures of twelve categories, most of them photographs with a transparent background, as `stamps/<label>/*`;
mirrored copies and cartoons are left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["link_stamps"]

PACKAGE = Path("/usr/share/tuxpaint/stamps")
LABELS = {
    "bird": "animals/birds",
    "clothes": "clothes",
    "fish": "animals/fish",
    "flower": "plants/flowers",
    "fruit": "food/fruit",
    "insect": "animals/insects",
    "instrument": "hobbies/music",
    "mammal": "animals/mammals",
    "planet": "space/planets",
    "road sign": "town/roadsigns",
    "tool": "household/tools",
    "vegetable": "food/vegetables",
}
LEFT_OUT = ("cartoon", "toys", "plastic", "mirror", "flip")


def link_stamps(folder: Path, package: Path = PACKAGE) -> int:
    """Link the pictures to `folder/<label>/`; return how many there are."""
    if not package.is_dir():
        sys.exit(f"{package} is not here: sudo apt install tuxpaint-stamps-default, or give --package DIR")
    count = 0
    for label, category in LABELS.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for path in sorted((package / category).rglob("*.png")):
            inside = path.relative_to(package).as_posix()
            if any(part in inside for part in LEFT_OUT):
                continue
            link = folder / label / inside.replace("/", "-")
            link.unlink(missing_ok=True)
            link.symlink_to(path)
            count += 1
    return count


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--package", type=Path, default=PACKAGE)
    args = parser.parse_args()
    print(f"{link_stamps(args.out, args.package)} pictures of {len(LABELS)} labels in {args.out}")


if __name__ == "__main__":
    main()
