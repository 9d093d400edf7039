"""XML from a bank: read without entities, document types or network, and not beyond a size."""

from typing import Final

from lxml import etree

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
