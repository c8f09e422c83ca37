"""A plot as the page has it, and the colours that it shares with the page; nothing is drawn here,
so that who only shows plots waits for no matplotlib."""

from dataclasses import dataclass

# Okabe and Ito's blue and vermilion: told apart with any colour vision, and by their dashes.
COLOURS = ("#0072B2", "#D55E00")
DASHES = ("solid", (0, (5, 1.5)))
GREY = "#767676"


@dataclass(frozen=True)
class Plot:
    """A drawn plot: `caption` says how to read it."""

    name: str
    title: str
    caption: str
    svg: bytes
    png: bytes
