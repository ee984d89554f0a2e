"""A tenant's one colour, made into colours that can be read.

Contrast is that of WCAG 2: between 1 (none) and 21 (black on white); text needs 4.5.
"""

import re
from dataclasses import dataclass

DEFAULT = "#3b5bdb"
WHITE, BLACK = "#ffffff", "#000000"
# The page's own backgrounds, also in the template's style.
LIGHT_PAGE, DARK_PAGE = "#f4f5f7", "#1d2127"
READABLE = 4.5


@dataclass(frozen=True)
class Palette:
    primary: str  # as the tenant gave it: large areas
    on_primary: str  # text on it
    accent_light: str  # its likeness that reads as text on a light page
    accent_dark: str  # … and on a dark one


def palette(primary):
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", primary):
        primary = DEFAULT
    return Palette(
        primary=primary,
        on_primary=max(WHITE, BLACK, key=lambda text: contrast(text, primary)),
        accent_light=readable(primary, LIGHT_PAGE, towards=BLACK),
        accent_dark=readable(primary, DARK_PAGE, towards=WHITE),
    )


def readable(color, background, towards):
    """Moves a colour towards black or white, no further than it takes to be read."""
    for percent in range(0, 101, 5):
        mixed = mix(color, towards, percent / 100)
        if contrast(mixed, background) >= READABLE:
            return mixed
    return towards


def contrast(one, other):
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color):
    def linear(channel):
        channel /= 255
        return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4

    red, green, blue = map(linear, channels(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def mix(color, other, share):
    return "#" + "".join(
        f"{round(a + (b - a) * share):02x}"
        for a, b in zip(channels(color), channels(other), strict=True)
    )


def channels(color):
    return bytes.fromhex(color[1:])
