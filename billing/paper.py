"""A sheet to print on: our letters and colours, and words put in their place fast."""

from typing import Final

from fpdf import FPDF

from billing.fonts import FAMILY, add_fonts

MARGIN_MM: Final = 16.0
INK, MUTED, ACCENT = (23, 33, 43), (84, 97, 106), (11, 110, 79)
TINT, LINE = (233, 243, 239), (205, 212, 209)
AMBER_TINT, AMBER_INK = (255, 246, 221), (138, 90, 0)

Colour = tuple[int, int, int]


class Paper(FPDF):
    """An A4 document for the archive: PDF/A-3B, so that an invoice's XML can travel in it."""

    def __init__(self) -> None:
        super().__init__(unit="mm", format="A4", enforce_compliance="PDF/A-3B")
        add_fonts(self)
        self._widths: dict[tuple[str, str], float] = {}
        self._known: dict[str, bool] = {}
        self.set_margin(MARGIN_MM)
        self.set_auto_page_break(False)
        self.c_margin = 0
        self.alias_nb_pages()

    def ink(self, size_pt: float, style: str = "", colour: Colour = INK) -> None:
        """The letters of what follows; style: empty, or B."""
        self.set_font(FAMILY, style, size_pt)
        self.set_text_color(*colour)

    def rule(self, y: float, colour: Colour = LINE, left: float = MARGIN_MM) -> None:
        """A fine line up to the right margin."""
        self.set_draw_color(*colour)
        self.set_line_width(0.2)
        self.line(left, y, self.w - MARGIN_MM, y)

    def box(self, y: float, height: float, colour: Colour = TINT) -> None:
        """A tinted ground over the width of the text."""
        self.set_fill_color(*colour)
        self.rect(MARGIN_MM, y, self.epw, height, style="F", round_corners=True, corner_radius=2)

    def put(self, x: float, y: float, width: float, text: str, align: str = "L") -> None:
        """One line of words whose foot stands at y, cut where it is too long for its room."""
        shown = self.fitted(self.printable(text), width)
        if not shown:
            return
        if align == "R":
            x += width - self.width_of(shown)
        self.text(x, y, shown)

    def figure(self, right: float, y: float, text: str) -> None:
        """An amount or a quantity that ends at the right: never cut, whatever its room."""
        if text:
            self.text(right - self.width_of(text), y, text)

    def wrapped(self, text: str, width: float) -> list[str]:
        """The words on as many lines as they need, in the letters of now."""
        lines = [""]
        for word in self.printable(text).split(" "):
            longer = f"{lines[-1]} {word}" if lines[-1] else word
            if lines[-1] and self.width_of(longer) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def paragraph(self, x: float, y: float, width: float, text: str, step: float) -> float:
        """Words over several lines, the first with its foot at y. Returns where the next goes."""
        for line in self.wrapped(text, width):
            self.put(x, y, width, line)
            y += step
        return y

    def fitted(self, text: str, width: float) -> str:
        """As much of the text as there is room for."""
        if self.width_of(text) <= width:
            return text
        while text and self.width_of(text + "…") > width:
            text = text[:-1]
        return text + "…"

    def printable(self, text: str) -> str:
        """The text, with a question mark for each letter that our font has not."""
        known = self._known
        for letter in text:
            if letter not in known:
                known[letter] = ord(letter) in self.fonts[FAMILY.lower()].cmap  # type: ignore[union-attr]
        return "".join(letter if known[letter] else "?" for letter in text)

    def width_of(self, text: str) -> float:
        """In mm, in the letters of now: letter by letter, each measured once."""
        widths, style = self._widths, self.font_style
        for letter in text:
            if (letter, style) not in widths:
                widths[letter, style] = self.get_string_width(letter) / self.font_size_pt
        return sum(widths[letter, style] for letter in text) * self.font_size_pt
