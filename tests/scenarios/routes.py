"""What can be called, as the application's own routers tell it."""

from dataclasses import dataclass

from fastapi import FastAPI

API = "/api"


@dataclass(frozen=True)
class Operation:
    """One method of one address."""

    method: str
    path: str  # as the router has it

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def everything(app: FastAPI) -> list[Operation]:
    """All operations and pages, those without a description too; not what is mounted."""
    found = set()
    for part in app.routes:
        contexts = getattr(part, "effective_route_contexts", lambda part=part: [part])()
        for route in contexts:
            methods = set(getattr(route, "methods", None) or ()) - {"HEAD", "OPTIONS"}
            found |= {Operation(method, route.path) for method in methods}
    return sorted(found, key=str)


def operations(app: FastAPI) -> list[Operation]:
    """All of /api."""
    return [one for one in everything(app) if one.path.startswith(API)]


def pages(app: FastAPI) -> list[Operation]:
    """Whatever is not of /api."""
    return [one for one in everything(app) if not one.path.startswith(API)]
