import os
import signal
import time

import pytest

from phenolip.whole_files import whole_file

SIZE = 200_000


def write_for_ever(path):
    while True:
        for letter in (b"a", b"b"):
            with whole_file(path) as file:
                for _ in range(10):
                    file.write(letter * (SIZE // 10))


def test_a_reader_beside_a_writer_and_after_its_death_sees_whole_files(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * SIZE)
    if not (writer := os.fork()):
        write_for_ever(path)
    try:
        seen, stop = set(), time.monotonic() + 0.5
        while time.monotonic() < stop:
            content = path.read_bytes()
            assert len(content) == SIZE and len(set(content)) == 1
            seen.add(content[:1])
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    assert seen == {b"a", b"b"}
    assert len(set(path.read_bytes())) == 1


def test_work_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(KeyError), whole_file(path, "w") as file:
        file.write("half")
        raise KeyError
    assert [found.name for found in tmp_path.iterdir()] == ["file"] and path.read_bytes() == b"before"
