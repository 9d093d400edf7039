"""XML from a bank: read without entities, document types or network, and not beyond a size."""

from collections.abc import Collection
from typing import Final

from lxml import etree

_NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:"
SIZE_BYTES_MAX: Final = 50_000_000


class Unreadable(Exception):
    """A file that is not what it should be; the message says why."""


def parse(content: bytes, what: str) -> etree._Element:
    """The root of a document. Raises: Unreadable."""
    if len(content) > SIZE_BYTES_MAX:
        raise Unreadable(f"The {what} is larger than {SIZE_BYTES_MAX // 1_000_000} MB: split it.")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"The {what} is not XML: {error}.") from None
    if etree.ElementTree(root).docinfo.internalDTD is not None:
        raise Unreadable(f"The {what} declares a document type: no bank's does.")
    return root


def is_of(root: etree._Element, versions: Collection[str]) -> bool:
    """Whether a document is one of these ISO 20022 messages, like camt.053.001.08."""
    return etree.QName(root).namespace in {f"{_NAMESPACE}{version}" for version in versions}


def children(element: etree._Element, path: str) -> list[etree._Element]:
    """Descendants by a path of local names, whatever the version of the namespace."""
    found = [element]
    for name in path.split("/"):
        found = [
            child
            for each in found
            for child in each
            if isinstance(child.tag, str) and etree.QName(child).localname == name
        ]
    return found


def text(element: etree._Element, path: str) -> str | None:
    """The text of the first of them; None: there is none, or it is empty."""
    for each in children(element, path):
        if each.text and each.text.strip():
            return each.text.strip()
    return None
