"""The part of the Hub that pushing and pulling need, on 127.0.0.1, in memory, with faults on demand.

As a script: `python tests/hub/hub_server.py [PORT]`, then `HF_ENDPOINT=http://127.0.0.1:PORT HF_TOKEN=hf_write ...`.
"""

import base64
import hashlib
import json
import re
import socket
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKENS = {"hf_write": "write", "hf_read": "read"}
LFS_ENDINGS = (".safetensors", ".parquet", ".png", ".jpg", ".bin", ".arrow")
REPO = r"(?:api/)?(?:(?P<kind>models|datasets)/)?(?P<id>[^/]+/[^/]+?)"


class Refused(Exception):
    """An answer other than success: status, the code that clients look at, text."""

    def __init__(self, status, code="", text=""):
        self.status, self.code, self.text = status, code, text


@dataclass
class File:
    """A file of a commit; `lfs` says how its content was sent."""

    sha256: str
    size: int
    git_oid: str
    lfs: bool

    @property
    def oid(self):
        return self.sha256 if self.lfs else self.git_oid

    def row(self, path):
        lfs = {"lfs": {"oid": self.sha256, "size": self.size, "pointerSize": 130}} if self.lfs else {}
        return {"type": "file", "path": path, "size": self.size, "oid": self.git_oid, **lfs}


@dataclass
class Repo:
    """Commits are maps of files; a branch or tag names one."""

    private: bool
    commits: dict = field(default_factory=dict)
    branches: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)

    def resolve(self, revision):
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid not in self.commits:
            raise Refused(404, "RevisionNotFound", f"no revision {revision}")
        return oid

    def commit(self, branch, files):
        oid = hashlib.sha1(repr((len(self.commits), branch, sorted(files))).encode()).hexdigest()
        self.commits[oid] = files
        self.branches[branch] = oid
        return oid


@dataclass
class Fault:
    """What to do to the next `times` requests whose "METHOD /path" matches: a status, or "drop" amid the body."""

    pattern: str
    action: int | str
    times: int = 1


class Hub(ThreadingHTTPServer):
    """The server and what it holds."""

    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.repos, self.blobs, self.faults, self.log = {}, {}, [], []
        self.lock = threading.RLock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that goes away is no news."""

    def files(self, repo_id, kind="models", revision="main"):
        """Path -> content of a revision."""
        repo = self.repos[kind, repo_id]
        return {path: self.blobs[file.sha256] for path, file in repo.commits[repo.resolve(revision)].items()}

    def sent(self, pattern):
        """Requests that matched and were not refused."""
        return [line for line, status in self.log if re.search(pattern, line) and status < 400]

    def take_fault(self, line):
        with self.lock:
            for fault in self.faults:
                if fault.times and re.search(fault.pattern, line):
                    fault.times -= 1
                    return fault.action
        return None

    def store(self, content):
        sha256 = hashlib.sha256(content).hexdigest()
        self.blobs[sha256] = content
        git_oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return File(sha256, len(content), git_oid, lfs=False)


class Handler(BaseHTTPRequestHandler):
    """One request: faults first, then the route."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Silent; `Hub.log` keeps the requests."""

    def handle_request(self):
        line = f"{self.command} {self.path}"
        status = 500
        try:
            fault = self.server.take_fault(line)
            length = int(self.headers.get("Content-Length") or 0)
            if fault == "drop":
                self.rfile.read(length // 2)
                self.close_connection = True
                status = 499
                return self.connection.shutdown(socket.SHUT_RDWR)
            self.body = self._chunks() if "chunked" in self.headers.get("Transfer-Encoding", "") else None
            self.body = self.rfile.read(length) if self.body is None else self.body
            if fault:
                raise Refused(fault, text="a fault was asked for")
            with self.server.lock:
                status, headers, content = self.route()
        except Refused as refused:
            status = refused.status
            content = json.dumps({"error": refused.text, "errors": [{"message": refused.text}]}).encode()
            headers = {
                "X-Error-Code": refused.code,
                "X-Error-Message": refused.text,
                "Content-Type": "application/json",
            }
        finally:
            self.server.log.append((line, status))
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request

    def _chunks(self):
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def route(self):
        self.query = parse_qs(urlsplit(self.path).query)
        path = urlsplit(self.path).path.strip("/")
        for method, pattern, function in ROUTES:
            if self.command in method and (match := re.fullmatch(pattern, path)):
                return function(self, **{name: unquote(value) for name, value in match.groupdict("").items()})
        raise Refused(404, "EntryNotFound", f"no route for {self.command} {path}")

    def role(self, needed="read"):
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in TOKENS:
            raise Refused(401, text="Invalid username or password.")
        if needed == "write" and TOKENS[token] != "write":
            raise Refused(403, text="You don't have the rights to write here.")
        return token

    def repo(self, kind, repo_id):
        found = self.server.repos.get((kind or "models", repo_id))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if found is None or (found.private and token not in TOKENS):
            raise Refused(404 if token in TOKENS else 401, "RepoNotFound", "Repository not found")
        return found

    def json(self, value, status=200):
        return status, {"Content-Type": "application/json"}, json.dumps(value).encode()

    def whoami(self):
        token = self.role()
        access = {"displayName": token, "role": TOKENS[token]}
        return self.json({"type": "user", "name": "tester", "orgs": [], "auth": {"accessToken": access}})

    def create(self):
        asked = json.loads(self.body)
        self.role("write")
        repo_id = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        key = (f"{asked.get('type') or 'model'}s", repo_id)
        prefix = "" if key[0] == "models" else f"{key[0]}/"
        url = {"url": f"{self.server.url}/{prefix}{repo_id}"}
        if key in self.server.repos:
            return self.json(url | {"error": "You already created this repo"}, 409)
        self.server.repos[key] = Repo(bool(asked.get("private") or asked.get("visibility") == "private"))
        self.server.repos[key].commit("main", {".gitattributes": self.server.store(b"*.safetensors filter=lfs\n")})
        return self.json(url)

    def validate_yaml(self):
        content = json.loads(self.body)["content"]
        front = re.match(r"---\s*\n(.*?)\n---\s*\n", content, flags=re.DOTALL)
        try:
            data = yaml.safe_load(front[1]) if front else {}
        except yaml.YAMLError as error:
            raise Refused(400, text=f"bad YAML: {error}") from None
        if not isinstance(data, dict):
            raise Refused(400, text="front matter must be a mapping")
        results = [result for entry in data.get("model-index") or [] for result in entry["results"]]
        for result in results:
            if not {"task", "dataset"} <= result.keys() or not all("value" in metric for metric in result["metrics"]):
                raise Refused(400, text="model-index results need task, dataset and metrics with values")
        if not isinstance(data.get("license", ""), str):
            raise Refused(400, text="license must be a string")
        return self.json({"errors": [], "warnings": []})

    def preupload(self, kind, id, revision):
        self.role("write")
        head = self.repo(kind, id)
        files = head.commits[head.resolve(revision)]
        answer = []
        for file in json.loads(self.body)["files"]:
            is_lfs = file["path"].endswith(LFS_ENDINGS) or b"\0" in base64.b64decode(file["sample"])
            known = {"oid": files[file["path"]].oid} if file["path"] in files else {}
            mode = "lfs" if is_lfs else "regular"
            answer.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, **known})
        return self.json({"files": answer})

    def lfs_batch(self, kind, id):
        self.role("write")
        self.repo(kind, id)
        objects = []
        for asked in json.loads(self.body)["objects"]:
            href = {"href": f"{self.server.url}/lfs/{asked['oid']}"}
            new = {} if asked["oid"] in self.server.blobs else {"actions": {"upload": href}}
            objects.append({"oid": asked["oid"], "size": asked["size"], **new})
        return self.json({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid):
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, text="the content has another hash")
        self.server.blobs[oid] = self.body
        return 200, {}, b""

    def commit(self, kind, id, revision):
        self.role("write")
        repo = self.repo(kind, id)
        if revision not in repo.branches:
            raise Refused(404, "RevisionNotFound", f"no branch {revision}")
        files = dict(repo.commits[repo.branches[revision]])
        for line in self.body.splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "header" and value.get("parentCommit") not in (None, repo.branches[revision]):
                raise Refused(412, text="A commit has happened since.")
            if step["key"] == "file":
                files[value["path"]] = self.server.store(base64.b64decode(value["content"]))
            elif step["key"] == "lfsFile":
                if value["oid"] not in self.server.blobs:
                    raise Refused(400, text=f"{value['path']} points to nothing")
                stored = self.server.store(self.server.blobs[value["oid"]])
                stored.lfs = True
                files[value["path"]] = stored
            elif step["key"] == "deletedFile":
                del files[value["path"]]
        oid = repo.commit(revision, files)
        return self.json({"commitUrl": f"{self.server.url}/{id}/commit/{oid}", "commitOid": oid, "success": True})

    def info(self, kind, id, revision="main"):
        repo = self.repo(kind, id)
        oid = repo.resolve(revision or "main")
        siblings = [{"rfilename": path} for path in sorted(repo.commits[oid])]
        about = {"id": id, "modelId": id, "sha": oid, "private": repo.private, "tags": [], "downloads": 0, "likes": 0}
        return self.json({**about, "siblings": siblings, "lastModified": "2026-01-01T00:00:00.000Z"})

    def tree(self, kind, id, revision, path=""):
        repo = self.repo(kind, id)
        files = repo.commits[repo.resolve(revision)]
        prefix = f"{path}/" if path else ""
        inside = {name: file for name, file in files.items() if name.startswith(prefix)}
        if not inside:
            raise Refused(404, "EntryNotFound", f"no folder {path}")
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        folders = {parent for name in inside for parent in _parents(name) if parent.startswith(prefix)}
        rows = [file.row(name) for name, file in inside.items()]
        rows += [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in folders]
        return self.json([row for row in rows if recursive or "/" not in row["path"][len(prefix) :]])

    def paths_info(self, kind, id, revision):
        repo = self.repo(kind, id)
        files = repo.commits[repo.resolve(revision)]
        is_json = "json" in self.headers.get("Content-Type", "")
        asked = json.loads(self.body)["paths"] if is_json else parse_qs(self.body.decode()).get("paths", [])
        folders = {parent for name in files for parent in _parents(name)}
        rows = [files[path].row(path) for path in asked if path in files]
        rows += [{"type": "directory", "path": path, "oid": "0" * 40} for path in asked if path in folders]
        return self.json(rows)

    def refs(self, kind, id):
        repo = self.repo(kind, id)

        def rows(known, ref):
            return [{"name": name, "ref": f"refs/{ref}/{name}", "targetCommit": oid} for name, oid in known.items()]

        return self.json({"branches": rows(repo.branches, "heads"), "tags": rows(repo.tags, "tags"), "converts": []})

    def point(self, kind, id, what, name):
        """A new tag at the revision `name`, or a new branch of that name."""
        self.role("write")
        repo = self.repo(kind, id)
        asked = json.loads(self.body or b"{}")
        known, key = (repo.tags, asked.get("tag")) if what == "tag" else (repo.branches, name)
        if key in known:
            raise Refused(409, text=f"{key} already exists")
        known[key] = repo.resolve(name if what == "tag" else asked.get("startingPoint") or "main")
        return self.json({})

    def resolve(self, kind, id, revision, path):
        repo = self.repo(kind, id)
        oid = repo.resolve(revision)
        if path not in repo.commits[oid]:
            raise Refused(404, "EntryNotFound", f"no file {path}")
        file = repo.commits[oid][path]
        content = self.server.blobs[file.sha256]
        headers = {"ETag": f'"{file.oid}"', "X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": file.size}
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(wanted[1]), min(int(wanted[2] or file.size - 1), file.size - 1)
            headers |= {"Content-Range": f"bytes {start}-{end}/{file.size}"}
            return 206, headers, content[start : end + 1]
        return 200, headers, content


def _parents(path):
    parts = path.split("/")[:-1]
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]


ROUTES = (
    ("GET", "api/whoami-v2", Handler.whoami),
    ("POST", "api/repos/create", Handler.create),
    ("POST", "api/validate-yaml", Handler.validate_yaml),
    ("POST", rf"{REPO}/preupload/(?P<revision>[^/]+)", Handler.preupload),
    ("POST", rf"{REPO}/commit/(?P<revision>[^/]+)", Handler.commit),
    ("POST", rf"{REPO}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("PUT", r"lfs/(?P<oid>[0-9a-f]{64})", Handler.lfs_put),
    ("GET", rf"{REPO}/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", Handler.tree),
    ("POST", rf"{REPO}/paths-info/(?P<revision>[^/]+)", Handler.paths_info),
    ("POST", rf"{REPO}/(?P<what>tag|branch)/(?P<name>[^/]+)", Handler.point),
    ("GET", rf"{REPO}/refs", Handler.refs),
    ("GET", rf"{REPO}/revision/(?P<revision>[^/]+)", Handler.info),
    ("GET HEAD", rf"{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.resolve),
    ("GET", r"api/(?P<kind>models|datasets)/(?P<id>[^/]+/[^/]+)", Handler.info),
)


@contextmanager
def running_hub():
    """A hub that answers until the block ends."""
    hub = Hub()
    threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


if __name__ == "__main__":
    hub = Hub(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    sys.stdout.write(f"HF_ENDPOINT={hub.url} HF_TOKEN=hf_write HF_HUB_DISABLE_XET=1\n")
    sys.stdout.flush()
    hub.serve_forever()
