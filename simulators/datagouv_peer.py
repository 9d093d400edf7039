"""data.gouv.fr for tests and demonstrations: datasets and their resources over real HTTP.

It does what udata (the platform's software) does with the requests that a producer's program makes:
a key belongs to an account, an account may edit what its organisations have; a hosted file is
replaced as a whole, its title is the file's name from then on, and the answer has the checksum of
what was stored. It shares no code with what it is tried with. Faults: see simulators.faulty_http.
"""

import asyncio
import hashlib
import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

from simulators.faulty_http import Answer, FaultyService, Request

EXTENSIONS = ("csv", "json", "xlsx", "zip", "geojson")
TYPES = ("main", "documentation", "update", "api", "code", "other")
SCHEMAS = {
    "etalab/schema-irve-statique": ("2.2.0", "2.3.0", "2.3.1"),
    "etalab/schema-irve-dynamique": ("2.2.0", "2.3.0", "2.3.1"),
}
FREE = ("title", "description", "type", "format", "mime", "extras")  # what a request may change


class _Problem(Exception):
    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.answer = (status, body)


class DataGouvPeer(FaultyService):
    """One dataset of one organisation, with a hosted file and a link, and one account."""

    prefix = "/api/1"
    body_bytes_max = 64 * 1024 * 1024

    def __init__(self) -> None:
        super().__init__()
        self.key = uuid.uuid4().hex
        self.organization: str | None = "5bbb6d6cff66bd4dc17bfd5a"  # None: a person's
        self.dataset = "5bc04b2cff66bd680e499f4a"
        self.file, self.link = str(uuid.uuid4()), str(uuid.uuid4())
        self.may_edit = True
        self.denial = "You do not have the permission to modify that object."
        self.is_deleted = False
        self.upload_bytes_max = 16 * 1024 * 1024
        self.answer_after_s = 0.0
        self.corrupted = 0  # so many uploads are stored without their last byte
        self.content = b""
        self.uploads: list[bytes] = []  # as stored, in order
        self.described = asyncio.Event()  # something was said of a resource
        self.resources: dict[str, dict[str, Any]] = {
            self.file: _resource(self.file, "file", "a-remplacer.csv"),
            self.link: _resource(self.link, "remote", "lien"),
        }

    async def handle(self, request: Request) -> Answer:
        """What is done, and answered."""
        try:
            answer = self._do(request)
        except _Problem as problem:
            answer = problem.answer
        await asyncio.sleep(self.answer_after_s)
        return answer

    def _do(self, request: Request) -> Answer:
        key = request.headers.get("x-api-key")
        if key is not None and key != self.key:
            raise _Problem(401, {"message": "Invalid API Key"})
        if key is None and request.method != "GET":
            raise _Problem(401, {"message": "Unauthorized"})
        found = re.fullmatch(r"/datasets/([^/]+)/(?:resources/([^/]+)/(upload/)?)?", request.path)
        if found is None or found[1] != self.dataset:
            raise _Problem(404, {"message": "The requested URL was not found on the server."})
        if self.is_deleted:
            raise _Problem(410, {"message": "Dataset has been deleted"})
        if request.method != "GET" and not self.may_edit:
            raise _Problem(403, {"message": self.denial})
        if found[2] is None:
            return 200, self._dataset()
        resource = self.resources.get(found[2])
        if resource is None:
            raise _Problem(404, {"message": "Resource does not exist"})
        if request.method == "GET" and not found[3]:
            return 200, resource
        if request.method == "POST" and found[3]:
            return 200, self._upload(resource, request) | {"success": True}
        if request.method == "PUT" and not found[3]:
            self.described.set()
            return 200, _describe(resource, json.loads(request.body))
        raise _Problem(405, {"message": "The method is not allowed for the requested URL."})

    def _dataset(self) -> dict[str, Any]:
        owner = None if self.organization is None else {"id": self.organization, "name": "Exemple"}
        return {
            "id": self.dataset,
            "organization": owner,
            "resources": list(self.resources.values()),
        }

    def _upload(self, resource: dict[str, Any], request: Request) -> dict[str, Any]:
        if len(request.body) > self.upload_bytes_max:
            raise _Problem(413, {"message": "Request Entity Too Large"})
        name, content = _file(request)
        extension = name.rpartition(".")[2].lower()
        if extension not in EXTENSIONS:
            raise _Problem(400, {"success": False, "error": "This file type is not allowed"})
        if content.lstrip().lower().startswith((b"<!doctype html", b"<html")):
            raise _Problem(415, {"message": "Incorrect file content type: HTML"})
        if self.corrupted > 0:
            self.corrupted -= 1
            content = content[:-1]
        self.content = content
        self.uploads.append(content)
        resource |= {
            "title": name,
            "format": extension,
            "mime": "text/csv",
            "filesize": len(content),
            "checksum": {
                "type": "sha1",
                "value": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
            },
            "url": f"https://static.example.org/resources/{len(self.uploads)}/{name}",
            "last_modified": datetime.now(UTC).isoformat(),
        }
        return resource


def _resource(name: str, filetype: str, title: str) -> dict[str, Any]:
    return {
        "id": name,
        "title": title,
        "description": None,
        "type": "other",
        "filetype": filetype,
        "url": "https://static.example.org/vide",
        "checksum": None,
        "filesize": None,
        "schema": None,
    }


def _describe(resource: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    if values.get("filetype", resource["filetype"]) != resource["filetype"]:
        raise _Problem(400, {"message": "Cannot modify filetype after creation"})
    if values.get("type", "main") not in TYPES:
        raise _Problem(400, {"errors": {"type": ["Not a valid choice"]}})
    schema = values.get("schema")
    if schema is not None:
        versions = SCHEMAS.get(schema.get("name"))
        if versions is None or schema.get("version") not in (None, *versions):
            text = "Schema is not in the catalogue, or has no such version"
            raise _Problem(400, {"errors": {"schema": [text]}})
        resource["schema"] = {"name": schema["name"], "url": None, "version": schema.get("version")}
    resource |= {name: values[name] for name in FREE if name in values}
    if resource["filetype"] == "remote" and "url" in values:
        if not re.match(r"https?://[^/ ]+\.[a-z]+", values["url"]):
            raise _Problem(400, {"errors": {"url": ["Invalid URL"]}})
        resource["url"] = values["url"]
    return resource


def _file(request: Request) -> tuple[str, bytes]:
    """Name and content of the part `file` of a form with parts."""
    kind = request.headers.get("content-type", "")
    found = re.fullmatch(r'multipart/form-data; *boundary="?([^"]+)"?', kind)
    parts = request.body.split(b"--" + found[1].encode()) if found else []
    for part in parts:
        head, _, content = part.partition(b"\r\n\r\n")
        named = re.search(rb'name="file"; filename="([^"]+)"', head)
        if named:
            return named[1].decode(), content.removesuffix(b"\r\n")
    raise _Problem(400, {"success": False, "error": "Missing file parameter"})
