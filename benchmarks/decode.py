"""JPEG files to training samples: reduced decoding against whole decoding and other decoders, on real figures.

    python benchmarks/decode.py --data DIR --output decode.json [--peer_python PYTHON]

Every side takes the same bytes to the same square of uint8: decode to RGB, resize the whole frame. `whole` is Pillow's
full decoding and bicubic resize; `reduced` is ours (`reduced_decoding: true`), that is, reconstruction at 1/2, 1/4 or
1/8 where that leaves as many pixels as the least crop needs; `cv2` and `simplejpeg` are the peers, resized by area, in
the interpreter of --peer_python where this one lacks them. Floor: entropy decoding alone, which no decoder can leave
out, as the time of `draft` at 1/8 without a resize. Sides take turns over the whole set; medians of the rounds. Pixels
of each side are compared with those of `whole`.
"""

import io
import statistics
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from worker import Worker, alternate, arguments, hardware, serve, summary, write

SIDES = ("whole", "reduced", "floor", "cv2", "cv2_reduced", "simplejpeg", "simplejpeg_reduced")


def build(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts about the side, and its one step: all files once."""
    files = [Path(path).read_bytes() for path in settings["files"]]
    decode = decoder(settings["side"], settings["image_size"], settings["enough_px"])

    def step() -> float:
        for data in files:
            decode(data)
        return 0.0

    pixels = [decode(data) for data in files[:32]]
    np.save(settings["pixels"], np.stack(pixels) if settings["side"] != "floor" else np.zeros(1), allow_pickle=False)
    return {"side": settings["side"]}, {"step": step}


def decoder(side: str, size: int, enough_px: int) -> Any:
    """Bytes of a JPEG file -> (size, size, 3) uint8; `floor` gives nothing of use."""
    if side in ("whole", "reduced"):
        from phenolip.images import decode_image

        enough = enough_px if side == "reduced" else None
        return lambda data: np.asarray(
            decode_image(data, enough_px=enough).resize((size, size), Image.Resampling.BICUBIC)
        )
    if side == "floor":

        def entropy(data: bytes) -> None:
            with Image.open(io.BytesIO(data)) as image:
                image.draft(None, (1, 1))
                image.load()

        return entropy
    if side.startswith("cv2"):
        return _cv2(size, enough_px if side.endswith("reduced") else None)
    return _simplejpeg(size, enough_px if side.endswith("reduced") else None)


def _cv2(size: int, enough_px: int | None) -> Any:
    import cv2

    cv2.setNumThreads(1)
    flags = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
    flags[8] = cv2.IMREAD_REDUCED_COLOR_8

    def decode(data: bytes) -> np.ndarray:
        scale = _scale(data, enough_px) if enough_px else 1
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags[scale])
        return cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), (size, size), interpolation=cv2.INTER_AREA)

    return decode


def _simplejpeg(size: int, enough_px: int | None) -> Any:
    import simplejpeg

    def decode(data: bytes) -> np.ndarray:
        least = {"min_height": enough_px, "min_width": enough_px, "min_factor": 1} if enough_px else {}
        picture = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, **least)
        picture = Image.fromarray(picture)
        return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))

    return decode


def _scale(data: bytes, enough_px: int) -> int:
    with Image.open(io.BytesIO(data)) as image:
        shorter = min(image.size)
    return next(scale for scale in (8, 4, 2, 1) if scale == 1 or shorter // scale >= enough_px)


def main() -> None:
    """Measures and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="JPEG files, searched recursively")
    parser.add_argument("--files", type=int, default=200, metavar="N", help="files of a round, evenly spread (200)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds that count (7)")
    parser.add_argument("--image_size", type=int, default=160, metavar="PX", help="side of a sample (160)")
    parser.add_argument("--peer_python", metavar="PYTHON", help="interpreter with cv2 or simplejpeg")
    parser.add_argument("--peers", nargs="*", default=["cv2", "simplejpeg"], help="(cv2 simplejpeg)")
    args = parser.parse_args()
    from phenolip.train.data import ImageTextPairs

    varied = ImageTextPairs([], image_size=args.image_size, min_crop_area=0.6, color_jitter=0.0, seed=0)
    enough_px = varied.enough_px(args.image_size)
    found = sorted(path for path in args.data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    files = [str(path) for path in found[:: max(1, len(found) // args.files)][: args.files]]
    before = hardware(args.threads)
    pixels = {side: args.output.with_name(f".{side}.npy") for side in SIDES}
    workers = {}
    for side in SIDES:
        peer = side.removesuffix("_reduced")
        if peer in ("cv2", "simplejpeg") and (peer not in args.peers or not (args.peer_python or find_spec(peer))):
            continue
        settings = {"side": side, "files": files, "image_size": args.image_size, "enough_px": enough_px}
        python = args.peer_python if peer in ("cv2", "simplejpeg") and args.peer_python else sys.executable
        workers[side] = Worker(python, "decode.py", {**settings, "pixels": str(pixels[side])}, 1)
    answers = alternate([(side, worker, "step") for side, worker in workers.items()], args.rounds, _report)
    measured = {side: summary(of_side, len(files)) for side, of_side in answers.items()}
    whole = np.load(pixels["whole"]).astype(np.float32)
    for side, worker in workers.items():
        worker.close()
        entry, own = measured[side], np.load(pixels[side])
        entry["images_per_processor_s"] = len(files) / entry["processor_median_s"]
        ratios = [
            other["processor_seconds"] / own_step["processor_seconds"]
            for own_step, other in zip(answers[side], answers["whole"], strict=True)
        ]
        entry["times_as_fast_as_whole"] = statistics.median(ratios)
        entry["times_as_fast_range"] = [min(ratios), max(ratios)]
        if own.shape == whole.shape:
            entry["mean_difference_to_whole"] = float(np.abs(own - whole).mean())
        pixels[side].unlink()
    sides = [Image.open(path).size for path in files]
    result = {
        "benchmark": "JPEG files to training samples",
        "files": len(files),
        "median_pixels": [statistics.median(size[axis] for size in sides) for axis in (0, 1)],
        "image_size": args.image_size,
        "enough_px": enough_px,
        "measured": measured,
        "hardware": before,
    }
    write(result, args.output)


def _report(text: str) -> None:
    sys.stderr.write(f"\r{text} ")


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        serve(build)
    else:
        main()
