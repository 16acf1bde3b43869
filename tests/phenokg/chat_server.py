"""An OpenAI-compatible server in a process of its own, which answers well or badly as the text that it gets asks for.

usage: python chat_server.py LOG     prints its port; appends the body of every request to LOG, one JSON object a line.

A text that holds "BEHAVE late" gets its answer late; likewise the other names in `BEHAVIOURS`. A behaviour followed by
"-once" is shown for the first request with that text only.
"""

import http.server
import json
import os
import re
import socket
import sys
import threading
import time

BEHAVIOURS = (
    "slow", "late", "drip", "broken", "wrong", "refuse", "filter", "limit", "error", "html", "endless", "cut", "long",
    "die", "reset", "invent", "obey", "empty", "missing", "forbidden",
)  # fmt: skip
_seen: set[tuple[str, str]] = set()
_working: list["Handler"] = []
_lock = threading.Lock()


def data_of(body):
    """The article data of a conversation's first question; empty if it has none."""
    text = body["messages"][1]["content"] if len(body["messages"]) > 1 else ""
    found = re.search(r"<article_data>\n(.*)\n</article_data>", text)
    return json.loads(found.group(1)) if found else {}


def good_answer(body, behaviour):
    """What a good model would say; the behaviours `wrong`, `invent` and `obey` spoil it."""
    data = data_of(body)
    properties = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("properties", {})
    if "subcaptions" in properties or "own_text" not in data and "caption" in data:
        parts = []
        for found in re.finditer(r"\(([A-Z])\)([^(]*)", data["caption"]):
            parts.append({"label": found.group(1), "text": found.group(2).strip(), "start": found.start(2) + 1})
        if behaviour == "wrong":
            parts = [part | {"text": "words of no caption", "start": 10**6} for part in parts]
        return {"subcaptions": parts}
    if "own_text" in data:
        answer = {"description": data["own_text"], "modality": "CT", "phenotypes": ["seizures"]}
        if behaviour == "invent":
            answer["description"] += " The spleen measures 77 cm. There is a meningioma."
        if behaviour == "obey":
            answer |= {"modality": "OWNED", "key": "another/record", "split": "test"}
        return answer
    return {"words": [body["messages"][-1]["content"][:20]]}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with _lock, open(sys.argv[1], "a", encoding="utf-8") as log:
            _working.append(self)
            row = {"body": body, "authorization": self.headers.get("Authorization"), "num_working": len(_working)}
            log.write(json.dumps(row) + "\n")
        text = "".join(message["content"] for message in body["messages"] if message["role"] == "user")
        behaviour = self._behaviour(text)
        time.sleep(0.05 if behaviour == "slow" else 0)
        with _lock:
            _working.remove(self)
        self._show(body, behaviour)

    def _behaviour(self, text):
        found = re.search(r"BEHAVE ([a-z0-9]+)(-once)?", text)
        if not found:
            return ""
        if found.group(2):
            with _lock:
                key = (found.group(1), re.sub(r"This answer is not right.*", "", text))
                if key in _seen:
                    return ""
                _seen.add(key)
        return found.group(1)

    def _show(self, body, behaviour):
        if behaviour == "die":
            os._exit(1)
        if behaviour == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if behaviour == "late":
            time.sleep(1.5)
        if behaviour in ("drip", "endless"):
            self._stream(b" " if behaviour == "drip" else b" " * 1_000_000, 0.2 if behaviour == "drip" else 0.0)
            return
        if "noformat" in body["model"] and "response_format" in body:
            if body["response_format"]["type"] == "json_schema" or "noformat-at-all" in body["model"]:
                self._send(400, {"error": {"message": "this server has no guided decoding", "param": None}})
                return
        if "newnames" in body["model"]:
            for name in ("max_tokens", "temperature"):
                if name in body:
                    self._send(400, {"error": {"message": f"Unsupported parameter: '{name}'", "param": name}})
                    return
        statuses = {"limit": 429, "error": 500, "long": 400, "missing": 404, "forbidden": 403}
        if behaviour in statuses:
            code = "context_length_exceeded" if behaviour == "long" else None
            self._send(statuses[behaviour], {"error": {"message": "as asked", "code": code}})
            return
        if behaviour == "html":
            self._send(200, "<html>gateway</html>")
            return
        content = json.dumps(good_answer(body, behaviour), ensure_ascii=True)
        message = {"role": "assistant", "content": content}
        if behaviour == "broken":
            message["content"] = content[:-3]
        if behaviour == "empty":
            message["content"] = None
        if behaviour == "refuse":
            message |= {"content": None, "refusal": "I cannot help with that."}
        finish = {"cut": "length", "filter": "content_filter"}.get(behaviour, "stop")
        self._send(200, {"choices": [{"index": 0, "message": message, "finish_reason": finish}]})

    def _send(self, status, body):
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, piece, pause_s):
        self.send_response(200)
        self.send_header("Content-Length", str(10**9))
        self.end_headers()
        try:
            for _ in range(1000):
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(pause_s)
        except OSError:
            self.close_connection = True

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what the tests are about


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
