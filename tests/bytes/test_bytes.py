"""What clients receive of recorded runs is what is written down of them, byte for byte."""

from difflib import unified_diff

import pytest

from tests.bytes.results import FOLDER, file_of, read, receive
from tests.bytes.runs import RECORDED


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_run_is_told_in_every_look_as_it_is_written_down(name: str) -> None:
    written, received = read(RECORDED[name]), receive(RECORDED[name])

    assert written.keys() == received.keys()
    for look, text in received.items():
        # pytest's own comparison of long texts may take minutes.
        names = f"written: {look}", f"received: {look}"
        if lines := [*unified_diff(written[look].split("\n"), text.split("\n"), *names, lineterm="")]:
            pytest.fail("\n".join(lines), pytrace=False)


def test_every_recorded_run_is_written_down_and_nothing_else_is() -> None:
    assert sorted(FOLDER.rglob("*.txt")) == sorted(file_of(run) for run in RECORDED.values())
