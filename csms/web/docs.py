"""The API's documentation as a page: written from its OpenAPI description, without a script and
without anything fetched from elsewhere, so that it reads the same on a machine off the net."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_METHODS = ("get", "post", "put", "patch", "delete")


@router.get("/docs")
async def documentation(request: Request) -> HTMLResponse:
    """Every operation with its parameters, body, answers and examples."""
    app = request.app
    page: str | None = getattr(app.state, "documentation", None)
    if page is None:
        page = render(app.openapi())
        app.state.documentation = page
    return HTMLResponse(page)


def render(description: dict[str, Any]) -> str:
    """The page as HTML."""
    info = description["info"]
    schemas: dict[str, Any] = description.get("components", {}).get("schemas", {})
    body = "\n".join(_sections(description, schemas))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])} {escape(info["version"])}</title>
<link rel="stylesheet" href="/static/site.css">
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
</head>
<body>
<header><h1>{escape(info["title"])} {escape(info["version"])}</h1>
{_paragraphs(info.get("description", ""))}
<p><a href="/openapi.json">OpenAPI description for programs</a></p></header>
<main>
{body}
</main>
</body>
</html>
"""


def _sections(description: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    """One section a tag, then one a schema."""
    tags: dict[str, list[str]] = {tag["name"]: [] for tag in description.get("tags", [])}
    for path, operations in description["paths"].items():
        for method in _METHODS:
            if method in operations:
                operation = operations[method]
                tag = (operation.get("tags") or ["Other"])[0]
                tags.setdefault(tag, []).append(_operation(path, method, operation))
    for tag, parts in tags.items():
        if parts:
            yield f"<h2>{escape(tag)}</h2>"
            yield from parts
    yield "<h2>Shapes</h2>"
    for name, schema in schemas.items():
        if "properties" in schema:
            yield _schema(name, schema)


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [_paragraphs(operation.get("description", ""))]
    parameters = [
        (
            p["name"],
            p["in"] + (", required" if p.get("required") else ""),
            p.get("schema", {}),
            p.get("description", ""),
        )
        for p in operation.get("parameters", [])
    ]
    if parameters:
        rows = "".join(
            f"<tr><td><code>{escape(name)}</code></td><td>{escape(place)}</td>"
            f"<td>{_kind(schema)}</td><td>{escape(text)}</td></tr>"
            for name, place, schema, text in parameters
        )
        parts.append(f'<div class="wide"><table>{rows}</table></div>')
    content = operation.get("requestBody", {}).get("content", {})
    for media in content.values():
        parts.append(f"<p>Body: {_kind(media['schema'])}</p>")
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer.get('description', ''))}</td>"
        f"<td>{_answer_kind(answer)}</td></tr>"
        for status, answer in operation.get("responses", {}).items()
    )
    parts.append(f'<div class="wide"><table>{answers}</table></div>')
    return (
        f'<details><summary><span class="method">{method.upper()}</span> '
        f"<code>{escape(path)}</code> {escape(operation.get('summary', ''))}</summary>"
        + "".join(parts)
        + "</details>"
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(member)}</code>{' *' if member in required else ''}</td>"
        f"<td>{_kind(kind)}</td><td>{escape(kind.get('description', ''))}</td></tr>"
        for member, kind in schema["properties"].items()
    )
    examples = "".join(
        f"<pre>{escape(json.dumps(example, ensure_ascii=False, indent=2))}</pre>"
        for example in schema.get("examples", [])
    )
    return (
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"{_paragraphs(schema.get('description', ''))}"
        f'<div class="wide"><table>{rows}</table></div>{examples}</details>'
    )


def _answer_kind(answer: dict[str, Any]) -> str:
    return "".join(_kind(media.get("schema", {})) for media in answer.get("content", {}).values())


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a word or two, as HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(option) for option in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = escape(schema.get("format") or schema.get("type") or "anything")
    limits = [
        f"{sign} {schema[name]}"
        for name, sign in (("minimum", "≥"), ("maximum", "≤"), ("maxLength", "length ≤"))
        if name in schema
    ]
    default = schema.get("default")
    if default not in (None, "", {}, []):
        limits.append(f"default {json.dumps(default)}")
    return kind + (f" ({escape(', '.join(limits))})" if limits else "")


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part.strip())
