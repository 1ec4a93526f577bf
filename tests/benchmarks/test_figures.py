"""The figures of the benchmark are made of what was measured as they say."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.asking import said
from tests.benchmarks.candidates import Checkout
from tests.benchmarks.history import SIZES, told
from tests.benchmarks.loads import BRIEF, LONG, to_parts
from tests.benchmarks.machine import TICK, to_busy
from tests.benchmarks.native import Load
from tests.benchmarks.plan import DIRECT, RAW_PASS, Plan, Sample
from tests.benchmarks.rows import DEFAULT_ROWS, ROWS
from tests.benchmarks.short import LOADS, REFERENCE, doubled, least, read_reference, write_reference
from tests.benchmarks.table import LINES, Figure, added, cell, figures, plain, times_raw, times_raw_added, to_table

COMPARING = {"x raw-pass": times_raw("p50"), "added": added("p50"), "added, x raw-pass": times_raw_added("p50")}
ROUND = {DIRECT: {"p50": 1.0}, RAW_PASS: {"p50": 3.0}, "ours rest": {"p50": 9.0}}


def _sample(candidate: str, round: int = 0, **values: float) -> Sample:
    return Sample("streams", candidate, round, values, others=0.5)


@pytest.mark.parametrize(
    ("text", "checkout"),
    [
        ("new=/a", Checkout("new", Path("/a"), Path("/a/.venv/bin/python"))),
        ("new=/a:/b/python3.12", Checkout("new", Path("/a"), Path("/b/python3.12"))),
    ],
)
def test_a_checkout_is_read_from_its_name_and_place(text: str, checkout: Checkout) -> None:
    assert Checkout.parse(text) == checkout


@pytest.mark.parametrize("text", ["/a", "=/a", "new=", ""])
def test_a_checkout_without_a_name_or_a_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="NAME=DIRECTORY"):
        Checkout.parse(text)


def test_an_embedded_letta_has_no_mock() -> None:
    plan = Plan((Checkout.parse("new=/a"),), rounds=1)

    assert [kind for _, kind in plan.before_mocks] == ["rest", "app-server"]


def test_a_load_is_told_in_tokens_of_a_thousand_seconds() -> None:
    options = Load(streams=3, per_second=2.5).options(8000, "letta", "tutor")

    assert {"port=8000", "api=letta", "model=tutor", "streams=3", "rate=2500"} <= {*options}


def test_cores_are_busy_but_for_idling_and_waiting_for_disks() -> None:
    stat = "cpu  10 20 30 1000 500 1 2 3 99 99\ncpu0 1 1 1 1 1 1 1 1 1 1\n"

    assert to_busy(stat) == 66 / TICK


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('data: {"choices":[{"delta":{"content":"Hi"}}]}', "Hi"),
        ('data: {"choices":[{"delta":{"role":"assistant","content":null}}]}', ""),
        ('data: {"choices":[]}', ""),
        ("data: [DONE]", ""),
        (": ping", ""),
        ("", ""),
    ],
)
def test_a_line_of_a_stream_says_its_text(line: str, text: str) -> None:
    assert said(line) == text


@pytest.mark.parametrize("characters", SIZES.values())
def test_a_long_chat_takes_turns_and_ends_with_an_answer(characters: int) -> None:
    messages = told(1999, characters)

    assert {len(message["content"]) for message in messages} == {characters}
    assert [message["role"] for message in messages[-3:]] == ["assistant", "user", "assistant"]
    assert len({message["content"] for message in messages}) == len(messages)


@pytest.mark.parametrize(
    ("figure", "of_raw_pass", "ours"),
    [(plain("p50"), 3, 9), (times_raw("p50"), 1, 3), (added("p50"), 2, 8), (times_raw_added("p50"), 1, 4)],
    ids=["plain", *COMPARING],
)
def test_a_figure_is_made_of_its_own_round(figure: Figure, of_raw_pass: float, ours: float) -> None:
    assert figure(ROUND, RAW_PASS) == of_raw_pass
    assert figure(ROUND, "ours rest") == ours


@pytest.mark.parametrize("figure", COMPARING.values(), ids=COMPARING)
def test_who_asks_letta_itself_is_compared_with_nobody(figure: Figure) -> None:
    assert figure(ROUND, DIRECT) is None


@pytest.mark.parametrize("figure", COMPARING.values(), ids=COMPARING)
def test_nobody_is_compared_with_who_was_not_measured(figure: Figure) -> None:
    assert figure({"ours rest": {"p50": 9.0}}, "ours rest") is None


def test_a_yardstick_that_adds_nothing_divides_by_the_least_there_is() -> None:
    same = {DIRECT: {"p50": 1.0}, RAW_PASS: {"p50": 1.0}, "ours rest": {"p50": 2.0}}

    assert times_raw_added("p50")(same, "ours rest") == pytest.approx(200)


def test_a_stream_costs_what_its_length_does_not_make() -> None:
    def cost(tokens: int) -> float:
        return 60 * (5 + 0.1 * tokens)

    parts = to_parts(cost(BRIEF.content), cost(LONG.content))

    assert parts == pytest.approx({"event_us": 100, "stream_ms": 5})


def test_a_candidate_has_a_figure_for_each_round_that_it_was_in() -> None:
    rounds = {0: ROUND, 1: {RAW_PASS: {"p50": 2.0}}, 2: {RAW_PASS: {"p50": 2.0}, "ours rest": {"p50": 3.0}}}

    assert figures(rounds, "ours rest", times_raw("p50")) == [3, 1.5]


@pytest.mark.parametrize(
    ("found", "text"),
    [([], "-"), ([2.0], "2.0 ms"), ([3.0, 1.0, 2.0], "2.0 ms (1.0..3.0)")],
)
def test_a_cell_tells_the_middle_and_the_ends(found: list[float], text: str) -> None:
    assert cell(found, "{:.1f} ms") == text


def test_a_table_has_the_lines_that_were_measured_and_a_column_for_each_candidate() -> None:
    samples = [
        _sample(DIRECT, cpu_us=15, p50_ms=0.0, p99_ms=0.1, first_ms=0.1),
        _sample(RAW_PASS, cpu_us=20, p50_ms=0.1, p99_ms=0.2, first_ms=0.2),
        _sample("ours rest", cpu_us=60, p50_ms=0.2, p99_ms=0.4, first_ms=1.2),
    ]

    head, under, first, *_ = to_table(samples).splitlines()

    assert head == "| measure | raw-pass | ours rest | others |"
    assert under == "| --- | --- | --- | --- |"
    assert first == "| CPU per event, 60 streams, x raw-pass | 1.00 x | 3.00 x | 0.50 (0.50..0.50) |"


def test_the_samples_in_a_file_are_told_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = [Sample("memory", "ours rest", round, {"idle_kib": 30.0 + round}, 0.1) for round in range(3)]
    file = tmp_path / "samples.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(sample) + b"\n" for sample in samples))

    main(["--read", str(file)])

    assert "| memory of an idle stream | 31 KiB (30..32) | 0.10 (0.10..0.10) |" in capsys.readouterr().out.splitlines()


def test_a_row_that_there_is_not_is_refused() -> None:
    with pytest.raises(SystemExit, match="no such rows: swims"):
        main(["--rows", "streams,swims"])


def test_every_row_has_a_line_and_every_line_a_row() -> None:
    assert {line.row for line in LINES} == ROWS.keys()
    assert {*DEFAULT_ROWS} < ROWS.keys()


def test_the_least_of_all_rounds_counts_on_both_sides() -> None:
    samples = [
        _sample(RAW_PASS, 0, cpu_ms=30),
        _sample("ours rest", 0, cpu_ms=60),
        _sample(RAW_PASS, 1, cpu_ms=20),
        _sample("ours rest", 1, cpu_ms=90),
    ]

    assert least(samples) == {"streams": {"ours rest": 3.0}}


@pytest.mark.parametrize(("ratio", "faults"), [(5.9, 0), (6.0, 0), (6.1, 1)])
def test_what_has_doubled_is_told(ratio: float, faults: int) -> None:
    found = doubled({"streams": {"ours rest": ratio}}, {"streams": {"ours rest": 3.0}})

    assert len(found) == faults
    assert found == ["streams, ours rest: 6.1 x raw-pass, on record are 3.0"] * faults


def test_what_is_on_no_record_has_not_doubled() -> None:
    assert doubled({"streams": {"new rest": 9.0}, "others": {"ours rest": 9.0}}, {"streams": {"ours rest": 1.0}}) == []


def test_a_record_is_read_as_it_was_written_and_keeps_its_comments() -> None:
    ratios = {"streams": {"ours rest": 3.1}, "requests": {"ours rest": 20.0}}

    text = write_reference("# Why\n#\n# so.\n\n[streams]\nold = 1.0\n", ratios)

    assert read_reference(text) == ratios
    assert text.startswith("# Why\n#\n# so.\n\n[streams]\n")


def test_the_record_tells_of_every_load_on_both_kinds_of_letta() -> None:
    reference = tomllib.loads(REFERENCE.read_text(encoding="utf-8"))

    assert {row: {*of} for row, of in reference.items()} == {row: {"ours rest", "ours app-server"} for row in LOADS}
