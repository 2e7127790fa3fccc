"""Count the words of a sentence on each page of the documentation, and find coined words.

``python scripts/readability.py`` prints a table and ends with 1 where a page is too hard to read. Code, tables,
headings and pictures are left out. A list entry or a line that ends without a full stop is no sentence.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MOST_WORDS = 18.0
"""Of a page's mean sentence."""

COINED = (
    r"carr(?:y|ied|ies|ying)",
    r"doubt(?:s|ed|ful)?",
    r"unsure",
    r"settl(?:e|ed|es|ing)",
    r"set right",
    r"familiar(?:ity)?",
    r"lime",
    r"leavings",
    r"in the making",
    r"remember(?:ed|s)?",
    r"likeness",
    r"plainly",
    r"rehearsals?",
    r"pupils?",
    r"ahead",
    r"aside",
    r"trust(?:ed|s)?",
    r"pieces?",
)
"""Words of this project alone, or in a sense of its own. Words of the field stand in their place."""


class Page(NamedTuple):
    """What was counted on one page."""

    name: str
    sentences: int
    words: int
    longest: str
    coined: tuple[str, ...]

    @property
    def mean(self) -> float:
        """Words of a sentence, on average; 0 on a page without sentences."""
        return self.words / self.sentences if self.sentences else 0.0


def prose(text: str) -> list[str]:
    """Split a page into blocks of running text, without code, tables, headings, pictures and comments."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^( *)(```|~~~).*?^\1\2 *$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "Code", text)
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith(("|", "#", ":::", "!!!", "???")):
            blocks.append([])
            continue
        if re.match(r"(?:[-*]|\d+\.) ", stripped):
            blocks.append([])
            stripped = re.sub(r"^(?:[-*]|\d+\.) ", "", stripped)
        blocks[-1].append(stripped)
    return [re.sub(r"[*_]{1,2}", "", " ".join(block)) for block in blocks if block]


def sentences(text: str) -> list[str]:
    """Sentences of a page, each with its full stop, question mark or exclamation mark."""
    found = []
    for block in prose(text):
        parts = re.split(r"(?<=[.!?])[)\"']?\s+(?=[A-Z0-9(\"'])", block)
        found += [part for part in parts if re.search(r"[.!?][)\"']?$", part)]
    return found


def measure(name: str, text: str) -> Page:
    """Count one page."""
    lengths = {sentence: len(re.findall(r"[\w'’.-]*\w", sentence)) for sentence in sentences(text)}
    found = re.findall(rf"\b(?:{'|'.join(COINED)})\b", " ".join(prose(text)), re.IGNORECASE)
    return Page(
        name, len(lengths), sum(lengths.values()), max(lengths, key=lengths.__getitem__, default=""),
        tuple(sorted({word.lower() for word in found})),
    )  # fmt: skip


def pages() -> list[Page]:
    """Measure README.md, CHANGELOG.md, CONTRIBUTING.md and every page of ``docs``."""
    paths = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    paths += sorted((ROOT / "docs").rglob("*.md"))
    return [measure(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in paths]


def main() -> int:
    """Print the figures of every page."""
    measured = pages()
    for page in measured:
        words = f", coined: {', '.join(page.coined)}" if page.coined else ""
        print(f"{page.name:40} {page.sentences:4} sentences of {page.mean:4.1f} words{words}")
        if "-v" in sys.argv[1:]:
            print("    longest:", page.longest)
    print(f"mean {sum(p.words for p in measured) / sum(p.sentences for p in measured):.1f} words")
    return int(any(page.mean > MOST_WORDS or page.coined for page in measured))


if __name__ == "__main__":
    sys.exit(main())
