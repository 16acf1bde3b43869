"""Hrefs to image files: renditions found, and nothing outside of the article's folder touched."""

import os
import struct
import zlib

import pytest
from PIL import Image

from phenolip.phenokg.figures.figure_files import FigureFiles, NoImageError


@pytest.fixture
def files(tmp_path):
    (tmp_path / "media" / "a").mkdir(parents=True)
    return FigureFiles(tmp_path / "media", max_bytes=1_000_000, max_pixels=10_000)


def save(path, side=8, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize((side, side)).save(path, **options)


def find(files, *hrefs, source="a/x.xml"):
    return files.find(source, hrefs)


@pytest.mark.parametrize(
    ("href", "names", "expected"),
    [
        ("f1.jpg", ["f1.jpg"], "f1.jpg"),
        ("f1", ["f1.jpg"], "f1.jpg"),
        ("F1.JPG", ["f1.jpg"], "f1.jpg"),
        ("f1.tif", ["f1.jpg", "f10.jpg"], "f1.jpg"),
        ("pone.0000217.g001", ["pone.0000217.g001.png", "pone.0000217.g002.png"], "pone.0000217.g001.png"),
        ("f1.eps", ["f1.eps", "f1.png"], "f1.png"),
        ("sub/f1.png", ["sub/f1.png"], "sub/f1.png"),
        ("a%20b.png", ["a b.png"], "a b.png"),
        ("a%20b.png", ["a%20b.png", "a b.png"], "a%20b.png"),
        ("./f1.png", ["f1.png"], "f1.png"),
    ],
)
def test_an_href_finds_its_file(tmp_path, files, href, names, expected):
    for name in names:
        if name.endswith(".eps"):
            (tmp_path / "media" / "a" / name).write_bytes(b"%!PS")
        else:
            save(tmp_path / "media" / "a" / name)
    image = find(files, href)
    assert image.path == f"a/{expected}"
    assert image.data == (tmp_path / "media" / "a" / expected).read_bytes()


def test_the_file_of_the_very_name_then_the_largest(tmp_path, files):
    media = tmp_path / "media" / "a"
    save(media / "f1.gif", side=4)
    save(media / "f1.png", side=32)
    save(media / "f1.jpg", side=16)
    assert find(files, "f1").path == "a/f1.png"
    assert find(files, "f1.jpg").path == "a/f1.jpg"
    assert find(files, "f1.gif", "f1.png", "f1.jpg").path == "a/f1.png"
    assert find(files, "f1").num_images == 1


def test_a_broken_rendition_gives_way_to_a_whole_one(tmp_path, files):
    media = tmp_path / "media" / "a"
    save(media / "f1.jpg")
    (media / "f1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert find(files, "f1.png").path == "a/f1.jpg"


def test_several_images_are_counted(tmp_path, files):
    save(tmp_path / "media" / "a" / "f1a.png", side=8)
    save(tmp_path / "media" / "a" / "f1b.png", side=16)
    image = find(files, "f1a.png", "f1b.png")
    assert (image.path, image.num_images) == ("a/f1b.png", 2)


@pytest.mark.parametrize(
    ("href", "reason"),
    [
        ("../b/secret.png", "unsafe_href"),
        ("..%2fb%2fsecret.png", "unsafe_href"),
        ("sub/../../b/secret.png", "unsafe_href"),
        ("/etc/passwd", "unsafe_href"),
        ("C:\\secret.png", "unsafe_href"),
        ("..\\b\\secret.png", "unsafe_href"),
        (".", "unsafe_href"),
        ("", "unsafe_href"),
        ("f\0.png", "unsafe_href"),
        ("link.png", "unsafe_href"),
        ("folder-link/secret.png", "unsafe_href"),
        ("http://127.0.0.1/f1.png", "remote_href"),
        ("file:///etc/passwd", "remote_href"),
        ("//host/f1.png", "remote_href"),
        ("data:image/png;base64,AAAA", "remote_href"),
        ("absent.png", "missing_file"),
        ("x" * 5000 + ".png", "missing_file"),
        ("x" * 5000 + "/f.png", "missing_file"),
        ("paper.pdf", "not_raster"),
        ("paper", "not_raster"),
        ("film.mp4", "not_raster"),
        ("text.png", "unreadable_image"),
        ("cut.png", "unreadable_image"),
        ("pipe.png", "unreadable_image"),
        ("folder.png", "unreadable_image"),
        ("large.png", "too_large_image"),
        ("heavy.png", "too_large_image"),
        ("bomb.png", "too_large_image"),
    ],
)
def test_what_is_no_image_of_the_article(tmp_path, files, href, reason):
    media = tmp_path / "media"
    save(media / "b" / "secret.png")
    (media / "a" / "link.png").symlink_to(media / "b" / "secret.png")
    (media / "a" / "folder-link").symlink_to(media / "b")
    (media / "a" / "folder.png").mkdir()
    os.mkfifo(media / "a" / "pipe.png")
    for name in ("paper.pdf", "film.mp4", "text.png"):
        (media / "a" / name).write_bytes(b"%PDF-1.4")
    save(media / "a" / "whole.png", side=64)
    whole = (media / "a" / "whole.png").read_bytes()
    (media / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    save(media / "a" / "large.png", side=101)
    (media / "a" / "heavy.png").write_bytes(b"\0" * 1_000_001)
    header = b"IHDR" + struct.pack(">II", 65_536, 65_536) + whole[24:29]
    bomb = whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]
    (media / "a" / "bomb.png").write_bytes(bomb)
    with pytest.raises(NoImageError) as caught:
        find(files, href)
    assert caught.value.args[0] == reason, caught.value.args
    assert len(caught.value.args[1]) < 300


def test_of_several_failures_the_first_is_told(files):
    with pytest.raises(NoImageError, match="missing_file"):
        find(files, "absent.png", "../x.png")
    with pytest.raises(NoImageError, match="no_graphic"):
        find(files)
