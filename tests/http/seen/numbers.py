"""The metrics of a gateway, as a test reads them."""

import time

import httpx
from prometheus_client.parser import text_string_to_metric_families

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read_numbers(url: str, key: str | None = None) -> Series:
    """Every series of a gateway: its name, its labels without empty ones, and its value."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = httpx.get(f"{url}/metrics", headers=headers, timeout=30)
    answer.raise_for_status()
    return to_series(answer.text)


def to_series(text: str) -> Series:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        (sample.name, frozenset((name, value) for name, value in sample.labels.items() if value)): sample.value
        for sample in samples
    }


def of(series: Series, name: str, **labels: str) -> float:
    """The sum of the series of this name that have these labels."""
    wanted = labels.items()
    return sum(value for (each, has), value in series.items() if each == name and wanted <= dict(has).items())


def until(url: str, shown: str | None, name: str, /, **labels: str) -> Series:
    """All series once this one is 1, read with the key `shown`: a request is counted when its answer has gone."""
    end = time.monotonic() + 10
    while of(series := read_numbers(url, shown), name, **labels) != 1:
        assert time.monotonic() < end, f"{name} {labels} is {of(series, name, **labels)}"
        time.sleep(0.01)
    return series
