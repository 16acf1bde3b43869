"""Pictures of articles that are neither plots nor medical, drawn with Pillow: one function a kind."""

import math
import string
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Draw = np.random.Generator
Color = tuple[int, int, int]


def draw_diagram(kind: str, draw: Draw) -> Image.Image:
    """A picture of a kind, 300 to 900 px wide and high."""
    width, height = (int(side) for side in draw.integers(300, 900, 2))
    image = Image.new("RGB", (width, height), "white")
    drawn = DIAGRAMS[kind](image, draw)
    return image if drawn is None else drawn


def _font(size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(max(8, int(size)))


def _color(draw: Draw, low: int = 0, high: int = 256) -> Color:
    return tuple(int(value) for value in draw.integers(low, high, 3))


def _words(draw: Draw, count: int) -> str:
    letters = np.array(list(string.ascii_lowercase))
    return " ".join("".join(draw.choice(letters, draw.integers(2, 10))) for _ in range(count)).capitalize()


def _gel(image: Image.Image, draw: Draw) -> Image.Image:
    """Lanes of blurred bands on an uneven ground, dark on light or light on dark, in one to four strips."""
    pen = ImageDraw.Draw(image)
    num_lanes, num_strips = int(draw.integers(3, 14)), int(draw.integers(1, 5))
    is_dark = draw.random() < 0.35
    left, gap = int(image.width * 0.2), 6
    strip = (image.height - 30) // num_strips - gap
    for row in range(num_strips):
        shape = (strip, image.width - left - 10)
        ground = draw.uniform(150, 235) + draw.normal(0, 4, shape) + np.linspace(0, draw.uniform(-25, 25), shape[1])
        bands = Image.new("L", (shape[1], shape[0]), 0)
        band_pen, lane = ImageDraw.Draw(bands), shape[1] / num_lanes
        for number in range(num_lanes):
            for center in draw.uniform(0.1, 0.9, int(draw.integers(1, 6 if num_strips == 1 else 2))):
                half = strip * draw.uniform(0.01, 0.06 if num_strips == 1 else 0.2)
                box = ((number + 0.12) * lane, center * strip - half, (number + 0.88) * lane, center * strip + half)
                band_pen.rounded_rectangle(box, max(1, half), int(draw.integers(30, 255)))
        dark = np.asarray(bands.filter(ImageFilter.GaussianBlur(draw.uniform(1, 4))), float)
        values = np.clip(ground - dark * draw.uniform(0.6, 0.9), 0, 255)
        values = 255 - values if is_dark else values
        top = 28 + row * (strip + gap)
        image.paste(Image.fromarray(values.astype(np.uint8)), (left, top))
        pen.rectangle((left, top, left + shape[1], top + strip), outline="black")
        pen.text((4, top + strip // 2), _words(draw, 1)[:9], "black", _font(14))
    for number in range(num_lanes):
        pen.text((left + number * (image.width - left) / num_lanes, 8), draw.choice(["+", "-", "WT", "KO"]), "black")
    return image


def _flow_diagram(image: Image.Image, draw: Draw) -> None:
    pen = ImageDraw.Draw(image)
    columns, rows = int(draw.integers(1, 4)), int(draw.integers(2, 7))
    width, height = image.width / columns, image.height / rows
    fill = "white" if draw.random() < 0.5 else _color(draw, 170)
    for row in range(rows):
        for column in range(columns):
            if columns > 1 and draw.random() < 0.2:
                continue
            box = ((column + 0.1) * width, (row + 0.15) * height, (column + 0.9) * width, (row + 0.75) * height)
            pen.rounded_rectangle(box, draw.choice([0, 8, 20]), fill, "black", 2)
            for line in range(int(draw.integers(1, 4))):
                words = _words(draw, int(draw.integers(1, 4))) + f" (n = {draw.integers(5, 999)})"
                pen.text((box[0] + 6, box[1] + 4 + 15 * line), words[: int(width / 8)], "black", _font(12))
            middle = (box[0] + box[2]) / 2
            if row < rows - 1:
                tip = (row + 1.15) * height
                pen.line((middle, box[3], middle, tip), "black", 2)
                pen.polygon((middle - 5, tip - 8, middle + 5, tip - 8, middle, tip), "black")


def _molecule(image: Image.Image, draw: Draw) -> None:
    """Skeletal formulae: rings of five or six, fused or with side chains that end in letters."""
    pen = ImageDraw.Draw(image)
    for _ in range(int(draw.integers(1, 7))):
        bond = draw.uniform(18, 45)
        x, y = draw.uniform(0.15, 0.8) * image.width, draw.uniform(0.15, 0.8) * image.height
        for _ in range(int(draw.integers(1, 5))):
            num_atoms = int(draw.choice([5, 6, 6]))
            angles = np.arange(num_atoms) * 2 * math.pi / num_atoms + math.pi / 6
            atoms = [(x + bond * math.cos(angle), y + bond * math.sin(angle)) for angle in angles]
            pen.polygon(atoms, outline="black", width=2)
            for one, other in list(zip(atoms, atoms[1:], strict=False))[::2]:  # inner lines of double bonds
                inner = [
                    0.82 * value + 0.18 * middle for value, middle in zip((*one, *other), (x, y, x, y), strict=True)
                ]
                pen.line(inner, "black", 2)
            end = atoms[int(draw.integers(num_atoms))]
            tip = (end[0] + bond * draw.uniform(-1, 1), end[1] + bond * draw.uniform(-1, 1))
            pen.line((*end, *tip), "black", 2)
            pen.text(
                tip,
                str(draw.choice(["OH", "NH2", "O", "Cl", "CH3", "N"])),
                str(draw.choice(["black", "red", "blue"])),
                _font(15),
            )
            x += bond * math.sqrt(3)


def _table(image: Image.Image, draw: Draw) -> None:
    pen = ImageDraw.Draw(image)
    rows, columns = int(draw.integers(4, 25)), int(draw.integers(2, 8))
    height, width = image.height / rows, image.width / columns
    has_lines, is_striped = draw.random() < 0.4, draw.random() < 0.4
    for row in range(rows):
        top = row * height
        if row == 0 or (is_striped and row % 2):
            pen.rectangle((0, top, image.width, top + height), "lightgray")
        if has_lines or row < 2:
            pen.line((0, top, image.width, top), "black")
        for column in range(columns):
            number = f"{draw.normal(10, 5):.1f} ± {draw.uniform(0, 3):.1f}"
            words = _words(draw, 2) if row == 0 or column == 0 else number
            pen.text((column * width + 4, top + 3), words[: int(width / 6)], "black", _font(min(14, height * 0.7)))


def _tree(image: Image.Image, draw: Draw) -> None:
    """A phylogenetic tree, grown from the root at the left."""
    pen = ImageDraw.Draw(image)
    thickness = int(draw.integers(1, 4))

    def branch(x: float, top: float, bottom: float, depth: int) -> float:
        middle = (top + bottom) / 2
        if depth == 0 or bottom - top < 14:
            pen.text((x + 4, middle - 6), _words(draw, 2)[:18], "black", _font(11))
            return middle
        cut = top + (bottom - top) * draw.uniform(0.3, 0.7)
        ends = []
        for low, high in ((top, cut), (cut, bottom)):
            reach = x + image.width * draw.uniform(0.05, 0.16)
            place = branch(reach, low, high, depth - 1)
            pen.line((x, place, reach, place), "black", thickness)
            ends.append(place)
        pen.line((x, *ends[:1], x, *ends[1:]), "black", thickness)
        pen.text((x + 2, sum(ends) / 2), str(draw.integers(50, 101)), "gray", _font(9))
        return sum(ends) / 2

    branch(10, 10, image.height - 10, int(draw.integers(3, 7)))


def _map(image: Image.Image, draw: Draw) -> None:
    """Regions with ragged borders on water, with sites, names and a scale."""
    image.paste(_color(draw, 190), (0, 0, *image.size))
    pen = ImageDraw.Draw(image)
    for _ in range(int(draw.integers(3, 14))):
        x, y = draw.uniform(0, image.width), draw.uniform(0, image.height)
        angles = np.linspace(0, 2 * math.pi, 60, endpoint=False)
        radii = draw.uniform(40, 200) * (1 + np.convolve(draw.normal(0, 0.25, 64), np.ones(5) / 3, "valid"))
        land = [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]
        pen.polygon(land, _color(draw, 120), "black", 1)
        pen.text((x, y), _words(draw, 1), "black", _font(draw.integers(9, 20)))
    for x, y in draw.uniform(0, 1, (int(draw.integers(2, 15)), 2)) * image.size:
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), "red", "black")
    pen.line((20, image.height - 20, 120, image.height - 20), "black", 3)
    pen.text((20, image.height - 40), "100 km", "black", _font(12))


def _screenshot(image: Image.Image, draw: Draw) -> None:
    """A window with a title bar, a menu at the side, fields and buttons."""
    is_dark = draw.random() < 0.25
    image.paste((40, 42, 48) if is_dark else (245, 245, 247), (0, 0, *image.size))
    ink = "white" if is_dark else "black"
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, image.width, 28), _color(draw, 40, 200))
    pen.text((10, 6), _words(draw, 2), "white", _font(13))
    side = int(image.width * draw.uniform(0, 0.3))
    pen.rectangle((0, 28, side, image.height), _color(draw, 60, 120) if is_dark else _color(draw, 200))
    for top in range(40, image.height, int(draw.integers(18, 40))):
        if side > 40:
            pen.text((8, top), _words(draw, 1)[: side // 8], ink, _font(12))
        style = draw.random()
        if style < 0.6:
            pen.text(
                (side + 12, top), _words(draw, int(draw.integers(2, 8)))[: (image.width - side) // 8], ink, _font(12)
            )
        elif style < 0.8:
            pen.rectangle((side + 12, top, side + 200, top + 16), outline="gray")
        else:
            pen.rounded_rectangle((side + 12, top, side + 90, top + 18), 5, _color(draw, 40, 220))


def _logo(image: Image.Image, draw: Draw) -> None:
    image.paste("white" if draw.random() < 0.7 else _color(draw), (0, 0, *image.size))
    pen, ink = ImageDraw.Draw(image), _color(draw, 0, 200)
    for _ in range(int(draw.integers(1, 5))):
        x, y = draw.uniform(0.2, 0.6, 2) * image.size
        reach = draw.uniform(0.1, 0.3) * min(image.size)
        shape = draw.integers(3)
        if shape == 0:
            pen.ellipse((x, y, x + reach, y + reach), ink)
        elif shape == 1:
            pen.regular_polygon((x, y, reach / 2), int(draw.integers(3, 9)), int(draw.integers(90)), ink)
        else:
            pen.arc(
                (x, y, x + 2 * reach, y + 2 * reach), *sorted(draw.uniform(0, 360, 2)), ink, int(draw.integers(5, 25))
            )
        ink = _color(draw, 0, 200)
    pen.text((image.width * 0.1, image.height * 0.7), _words(draw, 1).upper(), ink, _font(image.width / 10))


def _text_page(image: Image.Image, draw: Draw) -> None:
    pen, size = ImageDraw.Draw(image), int(draw.integers(10, 20))
    for top in range(10, image.height - size, int(size * 1.5)):
        if draw.random() < 0.9:
            pen.text((12, top), _words(draw, 14)[: int(image.width / size * 1.8)], "black", _font(size))


def _network(image: Image.Image, draw: Draw) -> None:
    """Circles joined by lines, with names or without."""
    pen = ImageDraw.Draw(image)
    nodes = draw.uniform(0.05, 0.92, (int(draw.integers(6, 60)), 2)) * image.size
    for one, other in draw.integers(len(nodes), size=(2 * len(nodes), 2)):
        pen.line((*nodes[one], *nodes[other]), _color(draw, 100, 200), 1)
    has_names = draw.random() < 0.6
    for x, y in nodes:
        reach = draw.uniform(4, 22)
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), _color(draw, 80), "black")
        if has_names:
            pen.text((x - 8, y - 5), _words(draw, 1)[:5].upper(), "black", _font(10))


def _pathway(image: Image.Image, draw: Draw) -> None:
    """A cartoon of a cell: a membrane, a nucleus, proteins as coloured shapes, arrows."""
    image.paste(_color(draw, 215), (0, 0, *image.size))
    pen = ImageDraw.Draw(image)
    width, height = image.size
    pen.ellipse((-width * 0.2, height * 0.2, width * 1.2, height * 1.6), _color(draw, 190), _color(draw, 60, 160), 8)
    pen.ellipse((width * 0.3, height * 0.65, width * 0.7, height * 0.95), _color(draw, 160), _color(draw, 60, 160), 4)
    places = draw.uniform(0.05, 0.85, (int(draw.integers(5, 16)), 2)) * image.size
    for (x, y), (to_x, to_y) in zip(places, places[1:], strict=False):
        pen.line((x + 30, y + 12, to_x + 30, to_y + 12), "black", 2)
        box = (x, y, x + 60, y + 25)
        (pen.ellipse if draw.random() < 0.5 else pen.rectangle)(box, _color(draw, 90), "black")
        pen.text((x + 8, y + 6), _words(draw, 1)[:4].upper(), "black", _font(12))


DIAGRAMS: dict[str, Callable[[Image.Image, Draw], Image.Image | None]] = {
    "gel": _gel,
    "flow_diagram": _flow_diagram,
    "molecule": _molecule,
    "table": _table,
    "tree": _tree,
    "map": _map,
    "screenshot": _screenshot,
    "logo": _logo,
    "text_page": _text_page,
    "network": _network,
    "pathway": _pathway,
}
