"""For the documentation's site: links out of docs/ go nowhere there, so that they become the path they name."""

import re
from typing import Any, Final

_OUTSIDE: Final = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)+(?!brokers|crm|adr|tutorials)([A-Za-z_]+/[^)#]*|[A-Z]+\.md)[^)]*\)"
)
_IN_DOCS: Final = re.compile(r"\]\(docs/")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """A link to ../devices/… is told as a path; what lies in docs/ stays a link."""
    depth = page.file.src_path.count("/")
    outside = "../" * (depth + 1)

    def told(match: re.Match[str]) -> str:
        return f"{match[1]} (`{match[2]}`)" if outside in match[0] else match[0]

    return _IN_DOCS.sub("](", _OUTSIDE.sub(told, markdown))
