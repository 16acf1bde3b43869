"""Refuses and writes down every attempt to reach another machine; Python runs it at start where it is on PYTHONPATH.

Audit events come from the interpreter's own socket module, whichever library calls it. This machine itself may be
reached, for processes that train together.
"""

import os
import sys

TARGETS = {  # event -> place of the address among its arguments
    **{"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1},
    **{"socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0},
}


def is_here(target):
    """Whether an address or a name is of this machine, or of a socket in its file system."""
    host = target[0] if isinstance(target, tuple) else target
    text = host.decode(errors="replace") if isinstance(host, bytes) else host
    return not text or text in ("localhost", "::1") or text.startswith(("127.", "/", "\0"))


def refuse(event, arguments):
    """The audit hook."""
    if event in TARGETS and not is_here(arguments[TARGETS[event]]):
        with open(os.environ["PHENOLIP_TEST_ATTEMPTS"], "a", encoding="utf-8") as file:
            file.write(f"{event} {arguments[TARGETS[event]]!r} by {' '.join(sys.argv)}\n")
        raise OSError("The test has no network.")


sys.addaudithook(refuse)
