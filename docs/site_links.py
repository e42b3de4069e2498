"""For mkdocs: links to files of the repository, which a site does not have, become their text; comments go."""

from __future__ import annotations

import re

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")
_COMMENT = re.compile(r"^<!-- .*? -->\n+", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, **kwargs: object) -> str:
    return _OUTSIDE.sub(r"\1", _COMMENT.sub("", markdown))
