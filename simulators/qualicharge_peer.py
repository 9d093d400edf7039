"""QualiCharge for tests and demonstrations: the service's shapes, rules and faults, over real HTTP.

It knows tokens and scopes, checks points, statuses and sessions, takes a batch as a whole or not at
all, answers before it writes what is dynamic, and takes the same session twice. It shares no code
with what it is tried with. Faults: see simulators.faulty_http; limits of rate are kept where
`limited` says so.
"""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from simulators.faulty_http import Answer, FaultyService, Request

TOKEN_S = 1800
ALL_SCOPES = (
    *("static:create", "static:read", "static:update", "static:delete"),
    *("dynamic:create", "dynamic:read"),
)
GAPS_S = {"token": 15.0, "static": 1.0, "static/bulk": 6.0, "status/bulk": 2.0, "session/bulk": 6.0}
_REQUIRED = (
    *("nom_amenageur", "siren_amenageur", "contact_amenageur", "nom_operateur"),
    *("contact_operateur", "telephone_operateur", "nom_enseigne", "id_station_itinerance"),
    *("nom_station", "implantation_station", "adresse_station", "code_insee_commune"),
    *("coordonneesXY", "nbre_pdc", "id_pdc_itinerance", "puissance_nominale", "prise_type_ef"),
    *("prise_type_2", "prise_type_combo_ccs", "prise_type_chademo", "prise_type_autre"),
    *("paiement_acte", "condition_acces", "reservation", "horaires", "accessibilite_pmr"),
    *("restriction_gabarit", "station_deux_roues", "raccordement", "num_pdl", "date_maj"),
)
_OF_STATION = (
    *("nom_amenageur", "siren_amenageur", "nom_operateur", "nom_enseigne", "nom_station"),
    *("implantation_station", "nbre_pdc", "condition_acces", "horaires", "station_deux_roues"),
    *("raccordement", "num_pdl", "date_maj", "date_mise_en_service"),
)
_WORDS = {
    "implantation_station": {
        *("Voirie", "Parking public", "Parking privé à usage public"),
        *("Parking privé réservé à la clientèle", "Station dédiée à la recharge rapide"),
    },
    "condition_acces": {"Accès libre", "Accès réservé"},
    "accessibilite_pmr": {
        *("Réservé PMR", "Accessible mais non réservé PMR"),
        *("Non accessible", "Accessibilité inconnue"),
    },
    "raccordement": {"Direct", "Indirect"},
    "etat_pdc": {"en_service", "hors_service", "inconnu"},
    "occupation_pdc": {"libre", "occupe", "reserve", "inconnu"},
}


class _Problem(Exception):
    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.answer = (status, body)


def _unprocessable(place: str, message: str) -> _Problem:
    return _Problem(422, {"detail": [{"type": "value_error", "loc": [place], "msg": message}]})


class QualiChargePeer(FaultyService):
    """All that the service knows. `units`: the AFIREV prefixes of the account. No log-in fails."""

    prefix = "/api/v1"

    def __init__(
        self, *, clock: Callable[[], datetime] | None = None, units: tuple[str, ...] = ("FRT2P",)
    ) -> None:
        super().__init__()
        self.user, self.password = "time2plug", "simulated"
        self.units = units
        self.scopes: tuple[str, ...] = ALL_SCOPES
        self.bulk_max = 10
        self.limited = False
        self.write_after_s = 0.0
        self.writes_lost = 0  # so many dynamic writes come to nothing after their 201
        self.poison: set[str] = set()  # points whose requests fail with 500
        self.points: dict[str, dict[str, Any]] = {}
        self.withdrawn: set[str] = set()
        self.statuses: list[dict[str, Any]] = []
        self.sessions: dict[str, dict[str, Any]] = {}
        self.agents: set[str] = set()
        self.encodings: set[str] = set()
        self.log_ins = 0
        #: of (statique, status or session) and a point, the most requests at the same time
        self.at_once: dict[tuple[str, str], int] = {}
        self.answer_after_s = 0.0
        self._clock = clock or (lambda: datetime.now(UTC))
        self._tokens: dict[str, datetime] = {}
        self._last: dict[str, float] = {}
        self._busy: dict[tuple[str, str], int] = {}
        self._writes: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[str]:
        """As FaultyService; what is not written by its end never is."""
        async with super().serve(port) as url:
            try:
                yield url
            finally:
                for task in self._writes:
                    task.cancel()
                await asyncio.gather(*self._writes, return_exceptions=True)

    def forget_tokens(self) -> None:
        """As after a restart with another secret: every token is refused."""
        self._tokens.clear()

    async def written(self) -> None:
        """When all that was answered is written, or lost."""
        while self._writes:
            await asyncio.gather(*self._writes, return_exceptions=True)

    # HTTP.

    def is_spared(self, request: Request) -> bool:
        """A log-in."""
        return request.path == "/auth/token"

    async def handle(self, request: Request) -> Answer:
        """The answer, while requests of the same points at the same time are counted."""
        self.agents.add(request.headers.get("user-agent", ""))
        self.encodings.add(request.headers.get("content-encoding", ""))
        named_in = request.path + request.body.decode()
        found = set(re.findall(r"FR[A-Z0-9]{3}E[A-Z0-9]+", named_in))
        family = next((f for f in ("status", "session") if f in request.path), "statique")
        named = sorted((family, point) for point in found)
        for point in named:
            self._busy[point] = self._busy.get(point, 0) + 1
            self.at_once[point] = max(self.at_once.get(point, 0), self._busy[point])
        try:
            if self.poison & found:
                return 500, {"detail": "Internal Server Error"}
            try:
                answer = self._do(request)
            except _Problem as problem:
                answer = problem.answer
            await asyncio.sleep(self.answer_after_s)
            return answer
        finally:
            for point in named:
                self._busy[point] -= 1

    # What it does.

    def _do(self, request: Request) -> Answer:
        method, path, query, body = request.method, request.path, request.query, request.body
        if path == "/auth/token":
            self._pace("token")
            return self._log_in(dict(parse_qsl(body.decode())))
        self._authenticate(request.headers)
        parts = path.strip("/").split("/")
        if parts[0] == "statique":
            return self._static(method, path, parts[1:], body)
        if path == "/dynamique/status/bulk" and method == "POST":
            self._allow("dynamic:create")
            self._pace("status/bulk")
            return self._add(self._batch(body), self._check_status, self._keep_status)
        if path == "/dynamique/session/bulk" and method == "POST":
            self._allow("dynamic:create")
            self._pace("session/bulk")
            return self._add(self._batch(body), self._check_session, self._keep_session)
        if path == "/dynamique/session/check":
            self._allow("dynamic:read")
            if query["session_id"] in self.sessions:
                return 200, None
            return 404, {"detail": "Not Found"}
        if parts[:2] == ["dynamique", "status"] and parts[-1] == "history":
            self._allow("dynamic:read")
            return self._history(parts[2], query)
        return 404, {"detail": "Not Found"}

    def _log_in(self, form: dict[str, str]) -> Answer:
        self.log_ins += 1
        if (form.get("username"), form.get("password")) != (self.user, self.password):
            return 401, {"message": "Authentication failed: wrong user or password"}
        token = uuid.uuid4().hex
        self._tokens[token] = self._clock() + timedelta(seconds=TOKEN_S)
        return 200, {"access_token": token, "token_type": "bearer"}

    def _authenticate(self, headers: dict[str, str]) -> None:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if self._tokens.get(token, datetime.min.replace(tzinfo=UTC)) <= self._clock():
            raise _Problem(401, {"message": "Authentication failed: expired or unknown token"})

    def _allow(self, scope: str) -> None:
        if scope not in self.scopes:
            raise _Problem(403, {"message": "Unsufficient permissions: a scope is missing"})

    def _pace(self, kind: str) -> None:
        if not self.limited:
            return
        now_s = asyncio.get_running_loop().time()
        if now_s < self._last.get(kind, -1e9) + GAPS_S[kind] - 0.05:
            raise _Problem(429, {"message": f"Too many requests: {kind}"})
        self._last[kind] = now_s

    def _belongs(self, point: str) -> None:
        if point[:5] not in self.units:
            message = "You cannot submit data for an organization you are not assigned to"
            raise _Problem(403, {"message": f"Unsufficient permissions: {message}"})

    def _batch(self, body: bytes) -> list[dict[str, Any]]:
        batch: list[dict[str, Any]] = json.loads(body)
        if not 1 <= len(batch) <= self.bulk_max:
            raise _unprocessable("body", f"List should have at most {self.bulk_max} items")
        return batch

    # Points.

    def _static(self, method: str, path: str, parts: list[str], body: bytes) -> Answer:
        if path == "/statique/" and method == "POST":
            self._allow("static:create")
            self._pace("static")
            row = json.loads(body)
            self._check_static(row)
            if row["id_pdc_itinerance"] in self.points:
                raise _Problem(
                    409, {"detail": f"Charge point {row['id_pdc_itinerance']} already exists"}
                )
            return self._keep_points([row])
        if path == "/statique/bulk" and method == "POST":
            self._allow("static:create")
            self._pace("static/bulk")
            batch = self._batch(body)
            for row in batch:
                self._check_static(row)
            self._check_together(batch)
            return self._keep_points(batch)
        point = parts[0]
        if method == "PUT":
            self._allow("static:update")
            row = json.loads(body)
            self._check_static(row)
            if row["id_pdc_itinerance"] != point:
                raise _Problem(406, {"detail": "id_pdc_itinerance does not match request body"})
            self._known(point)
            self._keep_points([row])
            return 200, row
        self._allow("static:delete")
        self._belongs(point)
        if method == "DELETE":
            self._known(point)
            self.withdrawn.add(point)
            return 204, None
        if point not in self.points:
            raise _Problem(404, {"detail": "Charge point does not exist"})
        self.withdrawn.discard(point)
        return 204, None

    def _known(self, point: str) -> None:
        if point not in self.points or point in self.withdrawn:
            raise _Problem(404, {"detail": "Point of charge does not exist"})

    def _keep_points(self, batch: list[dict[str, Any]]) -> Answer:
        for row in batch:
            self.points[row["id_pdc_itinerance"]] = row
        names = [row["id_pdc_itinerance"] for row in batch]
        return 201, {"message": "Statique items created", "items": names, "size": len(names)}

    def _check_static(self, row: dict[str, Any]) -> None:
        for name in _REQUIRED:
            if name not in row or (row[name] is None and name != "num_pdl"):
                raise _unprocessable(name, "Field required")
        for name, words in _WORDS.items():
            if name in row and row[name] not in words:
                raise _unprocessable(name, "Input should be one of the listed words")
        station, point = row["id_station_itinerance"], row["id_pdc_itinerance"]
        if not re.fullmatch(r"FR[A-Z0-9]{3}P[A-Z0-9]{1,29}", station):
            raise _unprocessable("id_station_itinerance", "String should match pattern")
        if not re.fullmatch(r"FR[A-Z0-9]{3}E[A-Z0-9]{1,29}", point) or point[:5] != station[:5]:
            raise _unprocessable("id_pdc_itinerance", "String should match pattern")
        if not 1.3 <= row["puissance_nominale"] <= 4000:
            raise _unprocessable("puissance_nominale", "Input should be from 1.3 to 4000")
        if row["nbre_pdc"] < 1 or len(row["restriction_gabarit"]) < 2:
            raise _unprocessable("nbre_pdc", "Input is too small")
        if row["raccordement"] == "Direct" and not row["num_pdl"]:
            raise _unprocessable("num_pdl", "Required where raccordement is Direct")
        if not re.fullmatch(r"\[-?\d+(\.\d+)?, -?\d+(\.\d+)?\]", row["coordonneesXY"]):
            raise _unprocessable("coordonneesXY", "Input is not a valid coordinate")
        for name in ("date_maj", "date_mise_en_service"):
            if row.get(name) and date.fromisoformat(row[name]) > self._clock().date():
                raise _unprocessable(name, f"{row[name]} is in the future")
        self._belongs(point)

    def _check_together(self, batch: list[dict[str, Any]]) -> None:
        by_station: dict[str, dict[str, Any]] = {}
        for row in batch:
            first = by_station.setdefault(row["id_station_itinerance"], row)
            if any(first.get(name) != row.get(name) for name in _OF_STATION):
                message = "An error occured while trying to create or update the '_station' table"
                raise _Problem(400, {"detail": message})

    # What is dynamic.

    def _add(
        self,
        batch: list[dict[str, Any]],
        check: Callable[[dict[str, Any]], None],
        keep: Callable[[str, dict[str, Any]], None],
    ) -> Answer:
        for row in batch:
            check(row)
        for row in batch:
            self._belongs(row["id_pdc_itinerance"])
        named = {row["id_pdc_itinerance"] for row in batch}
        if not named <= self.points.keys() - self.withdrawn:
            message = "Undeclared attached point(s) of charge, you should create them all first"
            raise _Problem(404, {"detail": message})
        names = [str(uuid.uuid4()) for _ in batch]
        task = asyncio.create_task(self._write(dict(zip(names, batch, strict=True)), keep))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return 201, {"size": len(names), "items": names}

    async def _write(
        self, rows: dict[str, dict[str, Any]], keep: Callable[[str, dict[str, Any]], None]
    ) -> None:
        await asyncio.sleep(self.write_after_s)
        if self.writes_lost > 0:
            self.writes_lost -= 1
            return
        for name, row in rows.items():
            keep(name, row)

    def _check_status(self, row: dict[str, Any]) -> None:
        for name in ("etat_pdc", "occupation_pdc"):
            if row.get(name) not in _WORDS[name]:
                raise _unprocessable(name, "Input should be one of the listed words")
        age = self._clock() - self._time(row, "horodatage")
        if age >= timedelta(hours=24):
            raise _unprocessable("horodatage", f"{row['horodatage']} is older than 24 hours")

    def _keep_status(self, _: str, row: dict[str, Any]) -> None:
        self.statuses.append(row)

    def _check_session(self, row: dict[str, Any]) -> None:
        start, end = self._time(row, "start"), self._time(row, "end")
        if start > end or end - start > timedelta(days=7):
            raise _unprocessable("end", "Session is too long, or ends before it starts")
        if self._clock() - start > timedelta(days=365):
            raise _unprocessable("start", "Session is older than a year")
        if not isinstance(row.get("energy"), int | float) or not 0 <= row["energy"] <= 1000:
            raise _unprocessable("energy", "Input should be less than or equal to 1000")

    def _keep_session(self, name: str, row: dict[str, Any]) -> None:
        self.sessions[name] = row

    def _time(self, row: dict[str, Any], name: str) -> datetime:
        try:
            found = datetime.fromisoformat(row[name])
        except (KeyError, ValueError):
            raise _unprocessable(name, "Input should be a valid datetime") from None
        if found.tzinfo is None or found > self._clock():
            raise _unprocessable(name, "Input should have timezone info, and be in the past")
        return found

    def _history(self, point: str, query: dict[str, str]) -> Answer:
        self._belongs(point)
        self._known(point)
        after = datetime.fromisoformat(query["from"])
        found = [
            row
            for row in self.statuses
            if row["id_pdc_itinerance"] == point
            and datetime.fromisoformat(row["horodatage"]) >= after
        ]
        if not found:
            return 404, {"detail": "Selected point of charge does not have status record yet"}
        return 200, sorted(found, key=lambda row: datetime.fromisoformat(row["horodatage"]))
