"""All rows of the benchmark, by their names."""

from collections.abc import Callable, Iterator

from tests.benchmarks.bench import Bench
from tests.benchmarks.fresh import first_turns, memory, people, starts
from tests.benchmarks.history import history
from tests.benchmarks.loads import crowd, larger_scale, lengths, requests, responses, scale, streams
from tests.benchmarks.plan import Plan, Sample
from tests.benchmarks.several import workers

ROWS: dict[str, Callable[[Bench, Plan], Iterator[Sample]]] = {
    "streams": streams,
    "requests": requests,
    "responses": responses,
    "lengths": lengths,
    "scale": scale,
    "history": history,
    "first-turns": first_turns,
    "memory": memory,
    "people": people,
    "starts": starts,
    "crowd": crowd,
    "larger-scale": larger_scale,
    "workers": workers,
}
DEFAULT_ROWS = [name for name in ROWS if name not in ("larger-scale", "workers")]
