"""The error of those who ask a Redis. Performs no I/O."""


class Away(Exception):
    """Redis does not answer, or does not take what it is told; the text, for the log, says why."""
