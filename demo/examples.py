"""Example images of the page: phantoms, drawn when it starts. They show no patient."""

from pathlib import Path

from phenolip.datasets_scripts.phantoms import SIGNS, phantom, signs_of

SEED, SIZE_PX = 20, 320
SHOWN = ("HP:0001166", "HP:0000995", "HP:0033608", "HP:0000567", "HP:0100309", "HP:0030058")


def draw_examples(folder: Path) -> list[str]:
    """Paths of one PNG a sign of `SHOWN`; its name is that of the sign."""
    paths, index, left = [], 0, list(SHOWN)
    while left:
        hpo_ids = signs_of(index, seed=SEED)
        if len(hpo_ids) == 1 and hpo_ids[0] in left:
            path = folder / f"{SIGNS[hpo_ids[0]].name.replace(' ', '_')}.png"
            phantom(index, seed=SEED, size=SIZE_PX).image.save(path)
            paths.append(str(path))
            left.remove(hpo_ids[0])
        index += 1
    return sorted(paths)
