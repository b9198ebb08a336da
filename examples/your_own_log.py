"""Reading a log as shops really write them: odd names, missing ids, returns, catalogues, and what the reader says about it.

Run it: `python examples/your_own_log.py`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import tastemaker as tm

LOG = """\
InvoiceDate,Client,StockCode,Quantity
2011-12-01 08:26,17850,85123A,6
2011-12-01 08:28,17850,71053,2
2011-12-01 08:34,13047,85123A,1
2011-12-01 08:35,,84406B,1
2011-12-02 09:01,13047,84406B,-1
2011-12-02 10:00,13047,71053,1
2011-12-02 10:00,13047,71053,1
"""

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "log.csv"
    file.write_text(LOG)

    try:
        tm.read_purchases(file)
    except tm.TastemakerError as problem:  # "Client" is no usual name
        print(f"As expected: {problem}")

    log = tm.read_purchases(
        file,
        user_column="Client",
        products=["71053", "84406B", "85123A", "NEW-1"],  # sold, but not bought yet: a row all the same
    )

print(log.summary.sentence())
print("users   ", log.users.ids.to_list())  # integers: every id is one
print("products", log.products.ids.to_list())  # text: some are not
print("user 13047 bought", log.products.at(log.histories().of(log.users.rows([13047])[0])).to_list())
assert len(log) == 5
assert log.summary.dropped == 2
assert log.summary.repeats == 1
