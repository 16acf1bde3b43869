"""Draw contact sheets of the phantoms: an overview with each sign once, or a sheet with several drawings of each sign.

python docs/make_phantom_sheet.py --output docs/images/phantoms.jpg
python docs/make_phantom_sheet.py --output hand.png --scene hand --drawings 6
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from phenolip.datasets_scripts.phantoms import SCENES
from phenolip.datasets_scripts.phantoms.scene import Scene

COLUMNS = 9


def contact_sheet(scenes: tuple[Scene, ...], *, drawings: int = 1, cell_px: int = 128, seed: int = 0) -> Image.Image:
    """Every sign of `scenes`, alone: once each in a grid, or in a row of `drawings`; its name stands below.

    Args:
        scenes: the scenes to show.
        drawings: how many drawings of each sign.
        cell_px: side of one drawing.
        seed: of the drawings.
    """
    signs = [(scene, sign) for scene in scenes for sign in scene.signs]
    columns = drawings if drawings > 1 else min(COLUMNS, len(signs))
    label_px = 18 if drawings > 1 else 30
    num_rows = len(signs) if drawings > 1 else -(-len(signs) // columns)
    sheet = Image.new("RGB", (columns * cell_px, num_rows * (cell_px + label_px)), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12 if drawings > 1 else 11)
    for order, (scene, sign) in enumerate(signs):
        for number in range(drawings):
            row, column = (order, number) if drawings > 1 else divmod(order, columns)
            corner = (column * cell_px, row * (cell_px + label_px))
            rng = np.random.default_rng([seed, order, number])
            sheet.paste(scene.draw(rng, frozenset({sign.id}), cell_px).image, corner)
            if number == 0:
                label = f"{sign.name} ({sign.id})" if drawings > 1 else "\n".join(textwrap.wrap(sign.name, 22)[:2])
                pen.text((corner[0] + 3, corner[1] + cell_px + 1), label, fill="black", font=font, spacing=1)
    return sheet


def main() -> None:
    """Parse the command line and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="image file to write")
    parser.add_argument("--scene", choices=[scene.name for scene in SCENES], help="one scene; all if not given")
    parser.add_argument("--drawings", type=int, default=1, help="drawings of each sign")
    parser.add_argument("--cell_px", type=int, default=128, help="side of one drawing in pixels")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    scenes = tuple(scene for scene in SCENES if arguments.scene in (None, scene.name))
    sheet = contact_sheet(scenes, drawings=arguments.drawings, cell_px=arguments.cell_px, seed=arguments.seed)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.output, quality=82)


if __name__ == "__main__":
    main()
