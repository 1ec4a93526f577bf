"""What the README and the guides say, for those who hold them to their word."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = {str(page.relative_to(ROOT)): page for page in sorted([*ROOT.glob("*.md"), *(ROOT / "deploy").rglob("*.md")])}
"""The pages of the project, by their paths."""
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = {page.stem: page.read_text(encoding="utf-8") for page in sorted((ROOT / "deploy" / "guide").glob("*.md"))}
"""The guides, by their names."""
PARAMETERS = GUIDES["api"].partition("| parameter |")[2].partition("\n\n")[0]
"""The rows of the table of parameters."""
