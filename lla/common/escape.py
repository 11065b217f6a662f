"""Names that strangers chose, where they are shown: on a terminal, in Markdown, in a spreadsheet.

Items come from data. One that holds control characters, markup or a formula is written as the
characters it consists of.
"""

import re

MAX_NAME = 80  # characters of a name in a table
MARKUP = re.compile(
    r"[\\`*{}\[\]#|~$<>&\"@]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # between letters it is none
    r"|:(?=\S)"  # the start of an address
    r"|(?<=www)\.",
    re.IGNORECASE,
)
FORMULA = tuple("=+-@＝＋－＠")  # a spreadsheet calculates what starts so, in any of its widths

JOINERS = "\u200c\u200d"  # invisible, inside words of Persian and of the scripts of India


def one_line(text: str) -> str:
    """`text` with control characters, line breaks and invisible marks as escape sequences."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in JOINERS else c.encode("unicode_escape").decode() for c in text
    )


def markdown(text: str, most: int = MAX_NAME) -> str:
    """`text` so that Markdown and HTML show it as it is, in one line of at most `most` characters.

    What could be markup is written as a numeric character reference, which never is.
    """
    line = one_line(" ".join(text.split()))
    if len(line) > most:
        line = f"{line[: most - 1]}…"
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", line)


def spreadsheet(text: str) -> str:
    """`text` for a cell of CSV: what a spreadsheet would calculate has an apostrophe before it."""
    line = one_line(text)
    return f"'{line}" if line.lstrip().startswith(FORMULA) else line
