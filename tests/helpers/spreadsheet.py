"""A spreadsheet of purchases as UCI publishes Online Retail, made by hand."""

import io
import zipfile
from xml.sax.saxutils import escape

HEADER = (
    *("InvoiceNo", "StockCode", "Description", "Quantity"),
    *("InvoiceDate", "UnitPrice", "CustomerID", "Country"),
)
# 40513.35 is 1 December 2010, 8:24.
PURCHASES = (
    HEADER,
    (536366, "21814", "HEART  HOLDER", 2, 40513.36, 1.5, 17850, "United Kingdom"),
    (536365, "85123a", "WHITE LANTERN ", 6, 40513.35, 2.55, 17850, "United Kingdom"),
    ("C536379", 85123, "WHITE METAL", -6, 40513.355, 2.55, 17850, "United Kingdom"),
    (536367, "85118", "HEART HOLDER", 2, 40513.37, 1.5, 17850, "United Kingdom"),
    (536368, "POST", "POSTAGE", 1, 40513.38, 18, 13047, "France"),
    (536369, "85123A", "WHITE LANTERN", 6, 40513.39, 2.55, 13047, "France"),
    (536370, "85123A", "?", -6, 40513.39, 0, None, "France"),
)
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def spreadsheet(rows, sheet="xl/worksheets/sheet1.xml"):
    """The bytes of an .xlsx file: texts are shared, numbers are in their cells."""
    strings: dict[str, int] = {}
    lines = []
    for number, row in enumerate(rows, 1):
        cells = []
        for letter, value in zip("ABCDEFGH", row, strict=True):
            if isinstance(value, str):
                shared = strings.setdefault(value, len(strings))
                cells.append(f'<c r="{letter}{number}" t="s"><v>{shared}</v></c>')
            elif value is not None:
                cells.append(f'<c r="{letter}{number}"><v>{value}</v></c>')
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    # A text may be formatted in parts.
    texts = (
        f"<si><r><t>{escape(s[:1])}</t></r><r><t>{escape(s[1:])}</t></r></si>" for s in strings
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in {
            "[Content_Types].xml": "<Types/>",
            sheet: f'<worksheet xmlns="{MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>',
            "xl/sharedStrings.xml": f'<sst xmlns="{MAIN}">{"".join(texts)}</sst>',
        }.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return stream.getvalue()
