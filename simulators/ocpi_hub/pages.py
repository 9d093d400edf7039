"""Lists of the CPO, read page by page, and what is checked of the pages."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from simulators.ocpi_hub.calling import Call, Caller, Reply, described
from simulators.ocpi_hub.held import Document
from simulators.ocpi_hub.shapes import instant, problems

PAGES_MAX: Final = 10_000
KINDS: Final = {"locations": "Location", "tariffs": "Tariff", "sessions": "Session", "cdrs": "CDR"}


async def pull(
    caller: Caller, complain: Callable[[str], None], module: str, first: Call, page: int
) -> list[Document]:
    """All objects. Raises: HubComplaint for a page that is no list, and for pages without end."""
    found: list[Document] = []
    call = Call(
        "GET", first.url, first.token, None, first.between, first.query | {"limit": str(page)}
    )
    for _ in range(PAGES_MAX):
        reply = await caller.send(call)
        if not reply.is_good or not isinstance(reply.data, list):
            raise caller.complaint(call, f"was answered {described(reply)}, with no list")
        notes = _Notes(complain, call)
        found += reply.data
        limit, total = notes.check_counts(reply, page)
        following = _following(reply)
        if following is None:
            if total is not None and total != len(found):
                notes.say(f"X-Total-Count is {total}, and {len(found)} came")
            break
        notes.check_link(following, first, len(found), limit)
        call = Call("GET", following, first.token, None, first.between)
    else:
        raise caller.complaint(first, f"has more than {PAGES_MAX} pages")
    _check_objects(_Notes(complain, first), KINDS[module], found, first.query)
    return found


class _Notes:
    """Complaints of a page."""

    def __init__(self, complain: Callable[[str], None], call: Call) -> None:
        self._complain, self._call = complain, call

    def say(self, words: str) -> None:
        self._complain(f"answer to {self._call.words}: {words}")

    def check_counts(self, reply: Reply, page: int) -> tuple[int | None, int | None]:
        """X-Limit and X-Total-Count."""
        limit = self._number(reply, "X-Limit")
        if limit is not None and limit > page:
            self.say(f"X-Limit is {limit}, and {page} were asked for")
        if len(reply.data) > page or (limit is not None and len(reply.data) > limit):
            self.say(f"{len(reply.data)} objects, more than the limit")
        return limit, self._number(reply, "X-Total-Count")

    def _number(self, reply: Reply, name: str) -> int | None:
        text = reply.headers.get(name, "")
        if not text.isdigit():
            self.say(f"{name} is {text!r}")
            return None
        return int(text)

    def check_link(self, following: str, first: Call, count: int, limit: int | None) -> None:
        """The next page keeps the filters, and begins after what came."""
        split = urlsplit(following)
        if not split.scheme:
            self.say(f"the next page has no absolute address: {following}")
        query = dict(parse_qsl(split.query))
        for name in ("date_from", "date_to"):
            if name in first.query and instant(query.get(name)) != instant(first.query[name]):
                self.say(f"the next page lost {name}: {following}")
        if query.get("offset", str(count)) != str(count):
            self.say(f"the next page begins at {query['offset']}, and {count} came: {following}")
        if limit is not None and count % limit:
            self.say("a page that is not full has a next one")


def _following(reply: Reply) -> str | None:
    for text in reply.headers.get_list("link", split_commas=True):
        address, *parameters = (part.strip() for part in text.split(";"))
        if any(each.replace('"', "").replace(" ", "") == "rel=next" for each in parameters):
            return address.removeprefix("<").removesuffix(">")
    return None


def _check_objects(notes: _Notes, kind: str, found: list[Document], query: dict[str, str]) -> None:
    known: set[Any] = set()
    since, until = instant(query.get("date_from")), instant(query.get("date_to"))
    for each in found:
        wrong = problems(kind, each)
        for words in wrong:
            notes.say(words)
        if wrong:
            continue
        at = instant(each["last_updated"])
        if at and ((since and at < since) or (until and at >= until)):
            notes.say(f"{kind} {each['id']} is not of the time that was asked for")
        key = (
            each["country_code"],
            each["party_id"],
            each["id"],
            each.get("target_operator_party_id"),
        )
        if key in known:
            notes.say(f"{kind} {each['id']} came twice")
        known.add(key)
