"""Writes down what clients receive of recorded runs: of all, or of those that are named.

`python -m tests.bytes.record [NAME ...]`, a name being `rest/plain-answer`, say.
"""

import sys

from tests.bytes.results import receive, write
from tests.bytes.runs import RECORDED


def main(names: list[str]) -> None:
    for name in names or RECORDED:
        write(RECORDED[name], receive(RECORDED[name]))


if __name__ == "__main__":
    main(sys.argv[1:])
