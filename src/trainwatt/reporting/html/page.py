"""A page that needs nothing but itself: its style, its scripts and its figures lie in it."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.resources import files

from trainwatt.version import __version__

_SCRIPTS = ("vendor/vega.min.js", "vendor/vega-lite.min.js", "vendor/vega-embed.min.js", "page.js")
_POLICY = (  # a browser that keeps to it loads nothing from anywhere
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def page(title: str, header: str, body: str) -> str:
    """The whole page.

    Args:
        title: of the window.
        header: HTML above all sections.
        body: HTML of the sections.
    """
    scripts = "".join(f"<script>{_part(name)}</script>\n" for name in _SCRIPTS)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="trainwatt {escape(__version__)}">
<title>{escape(title)}</title>
<style>{_part("page.css")}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the figures</a>
<header>{header}</header>
<main id="main">
<noscript><p class="note">The pictures need JavaScript; the tables hold the same figures.</p></noscript>
{body}
</main>
<footer><p>Made by trainwatt {escape(__version__)} from the run folder alone. Pictures: Vega, Vega-Lite and Vega-Embed,
University of Washington Interactive Data Lab and contributors, BSD-3-Clause.</p></footer>
{scripts}</body>
</html>
"""


@cache
def _part(name: str) -> str:
    text = files("trainwatt.reporting.html").joinpath(name).read_text(encoding="utf-8")
    return re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE)
