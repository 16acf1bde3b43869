"""No tracked file holds what looks like a token, a key or a password."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECRETS = {
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "key of a language-model service": r"\bsk-[A-Za-z0-9_-]{20,}",
    "GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{30,}",
    "AWS key": r"\bAKIA[0-9A-Z]{16}\b",
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "password in an address": r"https?://(?!user:word@)[^/\s:@\"'{}<]+:[^/\s:@\"'{}<]+@",
}
PATTERN = re.compile("|".join(f"({pattern})" for pattern in SECRETS.values()).encode())


def found_in(content: bytes) -> str | None:
    """The kind of the first secret."""
    match = PATTERN.search(content)
    return list(SECRETS)[match.lastindex - 1] if match else None


def test_no_tracked_file_holds_a_secret():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout, so that there are no tracked files")
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert len(files) > 100
    assert {str(path): kind for path in files if path.is_file() and (kind := found_in(path.read_bytes()))} == {}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("token = 'hf_" + "a1" * 17 + "'", "Hugging Face token"),
        ("sk-" + "a" * 24, "key of a language-model service"),
        ("ghp_" + "Z" * 36, "GitHub token"),
        ("AKIA" + "ABCDEFGH12345678", "AWS key"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----", "private key"),
        ("https://me:" + "secret@example.org", "password in an address"),
        ("hf_write is the name of a test's token", None),
    ],
)
def test_each_kind_is_known(text, kind):
    assert found_in(text.encode()) == kind
