"""What the README says, for those who hold it to its word."""

from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
PARAMETERS = README.partition("| parameter |")[2].partition("\n\n")[0]
"""The rows of the table of parameters."""
