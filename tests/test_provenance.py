"""What a run says of itself, and that asking leaves no trace."""

import os
import subprocess

from phenolip import provenance


def test_asking_for_the_commit_does_not_write_to_the_repository(tmp_path, monkeypatch):
    def git(*words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True)

    git("init", "--quiet")
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", "code.py")
    git("commit", "--quiet", "--message", "one")
    os.utime(tmp_path / "code.py", (1, 1))  # same bytes, another time: `git status` would write it down
    before = (tmp_path / ".git/index").read_bytes()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.git_commit.__wrapped__() == git("rev-parse", "HEAD").stdout.strip()
    assert (tmp_path / ".git/index").read_bytes() == before
    (tmp_path / "code.py").write_text("a = 2\n")
    assert provenance.git_commit.__wrapped__().endswith("-dirty")
