"""Colors of classes and tracks that color-blind readers can tell apart, and the colors that contrast with them."""

from __future__ import annotations

from functools import cache

Color = tuple[int, int, int]  # RGB, 0..255

BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)

# Colors 0 to 6 are those of Okabe and Ito (https://jfly.uni-koeln.de/color/) without black. Colors 7 to 19 are from
# the schemes of Paul Tol (https://sronpersonalpages.nl/~pault/), and the others from all saturated ones: each time the
# color that is farthest from those before it, in CIELAB, for the worst of normal vision and simulated protanopia,
# deuteranopia and tritanopia. Both parts were then put in an order in which neighbors, and classes of COCO that occur
# together, differ most.
_PALETTE = bytes.fromhex("""
    56B4E9 E69F00 009E73 F0E442 D55E00 0072B2 CC79A7
    882255 EE6677 CC3311 EECC66 90C987 882E72 BBCC33 44BB99 117733 999933 994455 EE8866 FFAABB
    DD00BB DD66FF 77DD55 BB4422 7711DD CC22FF 00EEFF AA1188 889944 2255AA FF9966 CC6666
    6633CC 88DD00 88EECC 994477 BB2233 6666CC FF77DD 9955FF FF5533 990099 DD77BB BBDD88
    00FF33 AA1166 55DDCC 448855 CC33DD 994499 FF44CC 77AA55 9911BB BB0022 EE99FF 226633
    FF88BB BB4477 9955BB DD0044 99BB44 66BB88 99EEAA EEBB77 8888DD AA11FF DD7700 CC3388
    11CCFF AA66AA 5599FF 5544BB 884422 7700FF 0044DD AAEE55 BB6655 FF3388 AA88CC 55DD77
""")
_SHADES = ((WHITE, 0.0), (WHITE, 0.3), (BLACK, 0.3), (WHITE, 0.5), (BLACK, 0.5))


@cache
def color(index: int) -> Color:
    """Return color number ``index`` (0, 1, ...) of an endless palette.

    80 colors come first, then lighter and darker shades of them.
    """
    cycle, start = divmod(3 * index, len(_PALETTE))
    red, green, blue = _PALETTE[start : start + 3]
    toward, part = _SHADES[cycle % len(_SHADES)]
    return mix((red, green, blue), toward, part)


def mix(rgb: Color, other: Color, part: float) -> Color:
    """Return the color between ``rgb`` (``part`` = 0) and ``other`` (``part`` = 1)."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(rgb, other, strict=True))
    return red, green, blue


@cache
def contrasting(rgb: Color) -> Color:
    """Return black or white, whichever has the higher contrast with ``rgb`` as WCAG 2 defines it.

    See https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio.
    """
    luminance = _luminance(rgb)
    return (
        BLACK if (luminance + 0.05) ** 2 > 0.05 * 1.05 else WHITE
    )  # black: (L + 0.05) / 0.05; white: 1.05 / (L + 0.05)


@cache
def rim(rgb: Color) -> Color:
    """Return a darker shade, or a lighter one of a dark color, for a rim around lines of color ``rgb``."""
    return mix(rgb, BLACK, 0.75) if _luminance(rgb) > 0.08 else mix(rgb, WHITE, 0.5)


def _luminance(rgb: Color) -> float:
    """Return the relative luminance of a color, 0..1 (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    red, green, blue = (c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
