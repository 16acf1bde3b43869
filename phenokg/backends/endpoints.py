"""Where requests go, and with which key: from the environment, never from a file or a command line."""

import ipaddress
import logging
import os
from urllib.parse import urlsplit

from phenolip.exceptions import ConfigurationError

_log = logging.getLogger(__name__)
_warned: set[str] = set()  # hosts, once a process
_DEFAULT_KEY = "OPENAI_API_KEY"


class Endpoint:
    """An address and the name of the variable that holds its key.

    Args:
        base_url: Such as "http://127.0.0.1:8000/v1".
        key_variable: Must be set unless it is the default, `OPENAI_API_KEY`, which many servers do without.

    Raises:
        ConfigurationError: If the address is none, or holds a password, or the variable is not set.

    Example:
        >>> Endpoint("http://localhost:8000/v1/").chat_url
        'http://localhost:8000/v1/chat/completions'
    """

    def __init__(self, base_url: str, key_variable: str = _DEFAULT_KEY) -> None:
        try:
            parts = urlsplit(base_url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            parts, host = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
            raise ConfigurationError(
                "`base_url` must be http(s)://host[:port]/path, such as http://127.0.0.1:8000/v1."
            )
        if parts.username or parts.password:
            raise ConfigurationError("`base_url` must hold no user or password; name a variable with the key instead.")
        if key_variable != _DEFAULT_KEY and not os.environ.get(key_variable):
            raise ConfigurationError("`key_variable` must name an environment variable that is set; it names none.")
        self._base_url, self._host, self._scheme = base_url.rstrip("/"), host, parts.scheme
        self._key_variable = key_variable

    @property
    def chat_url(self) -> str:
        """Where chat completions are asked for."""
        return f"{self._base_url}/chat/completions"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        try:
            return ipaddress.ip_address(self._host).is_loopback
        except ValueError:
            return self._host == "localhost"

    def headers(self) -> dict[str, str]:
        """What says who asks."""
        key = os.environ.get(self._key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ConfigurationError(f"The key in {self._key_variable} must be printable ASCII.")
        return {"Authorization": f"Bearer {key}"} if key else {}

    def warn_once(self) -> None:
        """Says, once a host, that text is about to leave this machine."""
        if self.is_loopback or self._host in _warned:
            return
        _warned.add(self._host)
        open_key = " The key and the text travel unencrypted." if self._scheme == "http" else ""
        _log.warning("Texts of the articles are sent to %s.%s", self._host, open_key)

    def __str__(self) -> str:
        return self._base_url
