"""What every command line of the package shares."""

import re


def fold_flag(token: str) -> str:
    """Makes a flag take underscores, so that hyphen and underscore mean the same; other words stay as they are.

    Example:
        >>> fold_flag("--learning-rate=1e-4"), fold_flag("a-b")
        ('--learning_rate=1e-4', 'a-b')
    """
    match = re.match(r"(--[A-Za-z][\w-]*)(.*)", token, flags=re.DOTALL)
    return "--" + match[1][2:].replace("-", "_") + match[2] if match else token


def printable(text: str) -> str:
    r"""The text as a terminal shows it and does not obey it: control signs and marks of direction are spelled out.

    Example:
        >>> printable("a\x1b[2J\u202e café")
        'a\\x1b[2J\\u202e café'
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)
