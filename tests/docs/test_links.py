"""Whatever the documentation links to in this repository is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
PAGES = (
    *(HERE / page for page in ("README.md", "CONTRIBUTING.md", "bench/METHODOLOGY.md")),
    *sorted((HERE / "docs").rglob("*.md")),
)

_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def links(markdown: str) -> list[str]:
    """The targets of inline links and pictures that stay in the repository; what is in code is none."""
    found = _LINK.findall(_CODE.sub("", markdown))
    return [target for target in found if not re.match(r"[a-z][a-z+.-]*:", target)]


def anchors(markdown: str) -> set[str]:
    """What its headings are called in links, as GitHub makes them."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(markdown))
    return {heading.replace(" ", "-") for heading in kept}


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.is_relative_to(HERE) or not file.exists():
        return False
    return not anchor or file.suffix != ".md" or anchor in anchors(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HERE)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert [target for target in links(page.read_text(encoding="utf-8")) if not leads_somewhere(page, target)] == []


def test_links_are_found_where_they_are_and_not_in_code() -> None:
    text = (
        "[a](b.md) ![c](d.png#e) [f](https://g.h) `[i](j)`\n```\n[k](l)\n```\n[m](<n.md>)\n## The house: 2 `floors`\n"
    )
    assert links(text) == ["b.md", "d.png#e", "n.md"]
    assert anchors(text) == {"the-house-2-floors"}
