"""Draw a labelled contact sheet of the phantoms: one row a term, or one file a scene.

python docs/make_phantom_sheet.py --output docs/images/phantoms.png [--scene hand] [--columns 6]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from phenolip.datasets_scripts.phantoms import SCENES
from phenolip.datasets_scripts.phantoms.scene import Scene


def contact_sheet(scenes: tuple[Scene, ...], *, columns: int = 6, cell_px: int = 160, seed: int = 0) -> Image.Image:
    """Every sign of `scenes`, alone, `columns` times, with its name under the row."""
    signs = [(scene, sign) for scene in scenes for sign in scene.signs]
    label_px = 18
    sheet = Image.new("RGB", (columns * cell_px, len(signs) * (cell_px + label_px)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for row, (scene, sign) in enumerate(signs):
        top = row * (cell_px + label_px)
        for column in range(columns):
            rng = np.random.default_rng([seed, row, column])
            sheet.paste(scene.draw(rng, frozenset({sign.id}), cell_px).image, (column * cell_px, top))
        draw.text((4, top + cell_px + 1), f"{scene.name}: {sign.name} ({sign.id})", fill="black", font=font)
    return sheet


def main() -> None:
    """Parse the command line and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--scene", choices=[scene.name for scene in SCENES], help="one scene; all if not given")
    parser.add_argument("--columns", type=int, default=6, help="drawings of each sign")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    scenes = tuple(scene for scene in SCENES if arguments.scene in (None, scene.name))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(scenes, columns=arguments.columns, seed=arguments.seed).save(arguments.output)


if __name__ == "__main__":
    main()
