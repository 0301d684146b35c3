"""Pages that need nothing but themselves: what the reports of a search and of a benchmark have in common."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


def render(template: str, page: Mapping[str, Any]) -> str:
    """Return the page that a template makes of its values."""
    return _pages().get_template(template).render(page)


def breakable(arch: str) -> Markup:
    """Let a long architecture break between its operations.

    >>> breakable("|a~0|+|b~0|c~1|")
    Markup('|a~0|+<wbr>|b~0|<wbr>c~1|')
    """
    return Markup(re.sub(r"(\+|~\d+\|(?!\+|$))", r"\1<wbr>", str(escape(arch))))


@cache
def _pages() -> Environment:
    return Environment(
        loader=PackageLoader("renascent.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
