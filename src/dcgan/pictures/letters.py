"""Names of classes as pictures can show them: whatever letters, signs and length they have.

A picture is an output, the same bytes on every machine, so no font of the machine is used. Letters
that a font lacks would be boxes, all alike: they are escaped, after the number of the class.
"""

import functools
from collections.abc import Callable, Sequence

LONGEST = 24  # letters
LATIN = "\u017f"  # the last letter that Pillow's own font surely has


def shown(names: Sequence[str], has: Callable[[str], bool]) -> list[str]:
    """The names, each short and in letters that the font has; different ones stay different.

    Args:
        names: of the classes, in their order.
        has: whether the font has a letter.
    """
    texts = []
    for number, name in enumerate(names):
        text = escaped(name, has).replace("\n", "\\n")
        short = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
        texts.append(short if short == name and name.strip() else f"{number}: {short}")
    return texts


def escaped(text: str, has: Callable[[str], bool]) -> str:
    """A text in letters that the font has; line ends stay."""
    return "".join(
        letter
        if letter == "\n" or (has(letter) and letter.isprintable())
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def in_pillow(letter: str) -> bool:
    """Whether Pillow's own font has a letter."""
    return letter <= LATIN


def in_matplotlib(letter: str) -> bool:
    """Whether the font that comes with matplotlib has a letter."""
    return ord(letter) in _dejavu()


@functools.cache
def _dejavu() -> frozenset[int]:
    from matplotlib import font_manager, ft2font

    # The file that matplotlib brings, not one of the machine.
    path = font_manager.findfont("DejaVu Sans", fallback_to_default=True)
    return frozenset(ft2font.FT2Font(path).get_charmap())
