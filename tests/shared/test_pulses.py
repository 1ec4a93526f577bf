"""Whose pulse goes on, as one process sees it, in a time that is told."""

from gateway.shared.pulses import GONE_SECONDS, LEASE_SECONDS, RECENT_SECONDS, Pulses


def test_a_process_is_alive_until_its_pulse_has_stood_still_for_a_lease() -> None:
    pulses = Pulses(0)
    pulses.see({"a": 1}, 10)
    pulses.see({"a": 2}, 11)
    pulses.see({"a": 2}, 12)

    assert pulses.is_alive("a", 11 + LEASE_SECONDS - 0.1)
    assert not pulses.is_alive("a", 11 + LEASE_SECONDS)
    assert pulses.dead(11 + LEASE_SECONDS) == ["a"]
    # One that was hung up and goes on lives again.
    pulses.see({"a": 3}, 30)
    assert pulses.is_alive("a", 31)


def test_a_process_that_was_never_seen_has_the_time_to_begin() -> None:
    pulses = Pulses(0)

    assert pulses.is_alive("a", 10)
    assert pulses.is_alive("a", 10 + LEASE_SECONDS - 0.1)
    assert not pulses.is_alive("a", 10 + LEASE_SECONDS)


def test_a_process_that_says_that_it_goes_is_dead_at_once_and_missed_by_nobody() -> None:
    pulses = Pulses(0)
    pulses.see({"a": 1, "b": 1}, 10)
    pulses.say_gone("a", 10)

    assert not pulses.is_alive("a", 10)
    assert pulses.all_go_on(10)


def test_all_go_on_unless_one_has_fallen_silent_or_who_looks_has_just_begun() -> None:
    pulses = Pulses(0)
    pulses.see({"a": 1, "b": 1}, 1)
    assert not pulses.all_go_on(1)
    pulses.see({"a": 2, "b": 2}, 10)
    assert pulses.all_go_on(10)
    pulses.see({"a": 3, "b": 2}, 10 + RECENT_SECONDS)
    assert not pulses.all_go_on(10 + RECENT_SECONDS)


def test_nobody_is_dead_for_a_pulse_that_could_not_be_raised() -> None:
    pulses = Pulses(0)
    pulses.see({"a": 1}, 10)
    pulses.begin_anew(100)

    assert pulses.is_alive("a", 101)


def test_one_that_is_gone_for_long_is_forgotten_and_named_once() -> None:
    pulses = Pulses(0)
    pulses.see({"a": 1}, 10)

    assert pulses.see({"a": 1}, 10 + GONE_SECONDS) == []
    assert pulses.see({"a": 1}, 11 + GONE_SECONDS) == ["a"]
