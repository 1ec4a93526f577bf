"""What an agent writes in Markdown, as the page shows it; whole, and at every moment while it comes."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Browser, Page

from tests.gateways import gateway
from tests.pictures.drawn import GIF, Picture
from tests.servers.fake_letta import FakeLetta

RENDER = """async ({pieces, whole}) => {
    const { renderMarkdown } = await import(new URL("web/markdown.js", location));
    const shown = document.createElement("div");
    for (const text of whole ? [pieces.at(-1)] : pieces) renderMarkdown(shown, text);
    for (const each of shown.querySelectorAll(".code")) each.replaceWith(each.lastChild);
    for (const each of shown.querySelectorAll("svg")) each.remove();
    for (const name of ["target", "rel", "tabindex"])
        for (const each of shown.querySelectorAll(`[${name}]`)) each.removeAttribute(name);
    return shown.innerHTML;
}"""


@pytest.fixture(scope="module")
def anywhere(browser: Browser) -> Iterator[Page]:
    """A page that takes nothing from one test to the next."""
    with FakeLetta() as letta, gateway(letta.base_url, chat_page=True, keys=()) as url:
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        yield page
        context.close()


def render(page: Page, text: str, *, whole: bool = True) -> str:
    pieces = [text[:end] for end in range(1, len(text) + 1)]
    html: str = page.evaluate(RENDER, {"pieces": pieces or [""], "whole": whole})
    return html


DOT = Picture(GIF, "image/gif").url
# Markdown -> what the browser has
CASES = {
    "nothing": ("", ""),
    "paragraphs": ("one\n\ntwo", "<p>one</p><p>two</p>"),
    "lines": ("one\ntwo  \nthree\\\nfour", "<p>one<br>two<br>three<br>four</p>"),
    "emphasis": (
        "*a* **b** ***c*** _d_ __e__",
        "<p><em>a</em> <strong>b</strong> <em><strong>c</strong></em> <em>d</em> <strong>e</strong></p>",
    ),
    "emphasis within emphasis": (
        "**a *b* c** *d **e***",
        "<p><strong>a <em>b</em> c</strong> <em>d <strong>e</strong></em></p>",
    ),
    "no emphasis": ("2 * 3 * 4, snake_case_name, **", "<p>2 * 3 * 4, snake_case_name, **</p>"),
    "emphasis without end": ("**never *ends", "<p>**never *ends</p>"),
    "struck": ("~~a~~ ~b~", "<p><del>a</del> ~b~</p>"),
    "escapes": (r"\*a\* \[b\](c) \\ \q", r"<p>*a* [b](c) \ \q</p>"),
    "code": ("`a*b*` ``c`d`` ` e", "<p><code>a*b*</code> <code>c`d</code> ` e</p>"),
    "entities are text": ("&lt; & <b>", "<p>&amp;lt; &amp; &lt;b&gt;</p>"),
    "headings": ("# One #\n###### Six\n#none", "<h3>One</h3><h6>Six</h6><p>#none</p>"),
    "rules": ("a\n\n---\n* * *", "<p>a</p><hr><hr>"),
    "a list": ("- a\n- b\n* c", "<ul><li>a</li><li>b</li></ul><ul><li>c</li></ul>"),
    "a numbered list": ("3. a\n4) b\n", '<ol start="3"><li>a</li></ol><ol start="4"><li>b</li></ol>'),
    "a loose list": ("- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
    "a list in a list": (
        "- a\n  - b\n    - c\n- d",
        "<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ul>",
    ),
    "a list below a number, as models write it": (
        "1. a\n  - b\n2. c",
        "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>",
    ),
    "a paragraph in a list": ("- a\n\n  b\n\nc", "<ul><li><p>a</p><p>b</p></li></ul><p>c</p>"),
    "code in a list": (
        "1. a\n   ```py\n   x\n\n     y\n   ```\n2. b",
        "<ol><li>a<pre><code>x\n\n  y</code></pre></li><li>b</li></ol>",
    ),
    "a line that goes on in a list": ("- a\nb\n\nc", "<ul><li>a<br>b</li></ul><p>c</p>"),
    "a list after a line": ("To do:\n- a", "<p>To do:</p><ul><li>a</li></ul>"),
    "no list": ("-a\n1.b\n2026. It", '<p>-a<br>1.b</p><ol start="2026"><li>It</li></ol>'),
    "a quote": ("> a\n> - b\nc", "<blockquote><p>a</p><ul><li>b<br>c</li></ul></blockquote>"),
    "a fence": ("```py\n*a* <b>\n\n```\nb", "<pre><code>*a* &lt;b&gt;\n</code></pre><p>b</p>"),
    "half a fence": ("```\na\n``", "<pre><code>a\n``</code></pre>"),
    "a fence in a fence": ("````\n```\na\n```\n````", "<pre><code>```\na\n```</code></pre>"),
    "a fence of tildes": ("~~~\n```\n~~~", "<pre><code>```</code></pre>"),
    "a table": (
        "|a|b|\n|-|:-:|\n|*c*|d\\|e|\n|f|\n\ng",
        '<div class="table"><table><thead><tr><th class="start">a</th><th class="center">b</th></tr>'
        '</thead><tbody><tr><td class="start"><em>c</em></td><td class="center">d|e</td></tr><tr>'
        '<td class="start">f</td><td class="center"></td></tr></tbody></table></div><p>g</p>',
    ),
    "half a table": ("|a|b|\n|-", "<p>|a|b|<br>|-</p>"),
    "a link": (
        '[*a* b](https://x.example/y_(z) "t")',
        '<p><a href="https://x.example/y_(z)" title="t"><em>a</em> b</a></p>',
    ),
    "links in brackets": ("[a] [b](<mailto:c@d.example>)", '<p>[a] <a href="mailto:c@d.example">b</a></p>'),
    "an address": (
        "See https://x.example/a_b_c?d=(e)., or (http://y.example).",
        '<p>See <a href="https://x.example/a_b_c?d=(e)">https://x.example/a_b_c?d=(e)</a>., or ('
        '<a href="http://y.example/">http://y.example</a>).</p>',
    ),
    "an address in angles": (
        "<https://x.example> <mailto:a@b.example>",
        '<p><a href="https://x.example/">https://x.example</a> <a href="mailto:a@b.example">a@b.example</a></p>',
    ),
    "a link whose text is an address": (
        "[https://a.example](https://b.example)",
        '<p><a href="https://b.example/">https://a.example</a></p>',
    ),
    "a link that leads nowhere": ("[a](/b) [c](javascript:d) [e]()", "<p>[a](/b) [c](javascript:d) [e]()</p>"),
    "a picture elsewhere is a link that says so": (
        "![a *b*](https://x.example/y.png)",
        '<p><a href="https://x.example/y.png" class="picture-link">Picture: a <em>b</em> (x.example)</a></p>',
    ),
    "a picture without a name": (
        "![](https://x.example/y.png)",
        '<p><a href="https://x.example/y.png" class="picture-link">Picture (x.example)</a></p>',
    ),
    "a picture that leads elsewhere": (
        "[![a](https://x.example/y.png)](https://z.example)",
        '<p><a href="https://z.example/">Picture: a (x.example)</a></p>',
    ),
    "a picture in the text": (
        f"a ![b *c*]({DOT}) d",
        f'<p>a <img src="{DOT}" alt="b c"> d</p>',
    ),
    "a picture in the text without a name": (f"![]({DOT})", f'<p><img src="{DOT}" alt="Picture"></p>'),
    "half a picture in the text": (f"![a]({DOT[:40]}", "<p>a…</p>"),
    "a drawing in the text": (
        "![a](data:image/svg+xml;base64,PHN2Zy8+)",
        "<p>![a](data:image/svg+xml;base64,PHN2Zy8+)</p>",
    ),
    "a link to a picture in the text": (f"[a]({DOT})", f"<p>[a]({DOT})</p>"),
    "half a link": ("[a](https://x.exam", '<p>[a](<a href="https://x.exam/">https://x.exam</a></p>'),
}


SHORT = [text for text, _ in CASES.values() if text]


@pytest.mark.parametrize(("text", "html"), CASES.values(), ids=CASES)
def test_markdown_is_shown_as_it_is_meant(anywhere: Page, text: str, html: str) -> None:
    assert render(anywhere, text) == html


@pytest.mark.parametrize("text", [text for text, _ in CASES.values()], ids=CASES)
def test_what_comes_letter_by_letter_ends_as_the_whole(anywhere: Page, text: str) -> None:
    assert render(anywhere, text, whole=False) == render(anywhere, text)


# Two texts one after the other: what the end of one makes of the beginning of the next.
TOGETHER = [before + between + after for between in ("\n", "\n\n") for before, after in pairwise(SHORT)]


def test_texts_that_follow_each_other_letter_by_letter_end_as_the_whole(anywhere: Page) -> None:
    differ: list[str] = anywhere.evaluate(
        """async (texts) => {
            const { renderMarkdown } = await import(new URL("web/markdown.js", location));
            const differ = [];
            for (const text of texts) {
                const [whole, shown] = [document.createElement("div"), document.createElement("div")];
                renderMarkdown(whole, text);
                for (let end = 1; end <= text.length; end++) renderMarkdown(shown, text.slice(0, end));
                if (shown.innerHTML !== whole.innerHTML) differ.push(text);
            }
            return differ;
        }""",
        TOGETHER,
    )

    assert len(TOGETHER) > 50
    assert differ == []


def test_a_text_that_is_another_takes_the_place_of_the_one_before(anywhere: Page) -> None:
    texts = ["one\n\ntwo\n\n- three", "two", "", "```\na", "```\nb", "one\n\ntwo"]
    for i in range(1, len(texts) + 1):
        html: str = anywhere.evaluate(RENDER, {"pieces": texts[:i], "whole": False})
        assert html == render(anywhere, texts[i - 1])


# What grows -> one piece more of it, and what stays of it on screen
GROWING = {
    "code": ("```\none", "\ntwo", ".code"),
    "a list": ("- one\n- two", " more", "li:first-child"),
    "a table": ("|a|\n|-|\n|b|\n|c", "|\n|d|", "tbody tr:first-child"),
    "a quote": ("> one\n>\n> two", " more", "p:first-child"),
}


@pytest.mark.parametrize(("text", "more", "selector"), GROWING.values(), ids=GROWING)
def test_what_grows_at_its_end_stays_what_it_is(anywhere: Page, text: str, more: str, selector: str) -> None:
    same: bool = anywhere.evaluate(
        """async ([text, more, selector]) => {
            const { renderMarkdown } = await import(new URL("web/markdown.js", location));
            const shown = document.createElement("div");
            renderMarkdown(shown, text);
            const before = shown.querySelector(selector);
            renderMarkdown(shown, text + more);
            return before === shown.querySelector(selector);
        }""",
        [text, more, selector],
    )

    assert same


def test_the_copy_of_code_that_has_grown_is_all_of_it(anywhere: Page) -> None:
    copied: str = anywhere.evaluate("""async () => {
        const { renderMarkdown } = await import(new URL("web/markdown.js", location));
        const shown = document.createElement("div");
        for (const text of ["```\\none", "```\\none\\ntwo"]) renderMarkdown(shown, text);
        const written = new Promise((resolve) => {
            Object.defineProperty(navigator, "clipboard", {configurable: true, value: {writeText: resolve}});
        });
        shown.querySelector("button").click();
        return written;
    }""")

    assert copied == "one\ntwo"


def test_blocks_that_are_finished_stay_what_they_are_while_more_comes(anywhere: Page) -> None:
    same: bool = anywhere.evaluate("""async () => {
        const { renderMarkdown } = await import(new URL("web/markdown.js", location));
        const shown = document.createElement("div");
        renderMarkdown(shown, "one\\n\\n```\\ntwo\\n```\\n\\nthr");
        const before = [...shown.childNodes];
        renderMarkdown(shown, "one\\n\\n```\\ntwo\\n```\\n\\nthree\\n\\nfour");
        return before[0] === shown.childNodes[0] && before[1] === shown.childNodes[1] && shown.childNodes.length === 4;
    }""")

    assert same


# Texts that would take a careless reader for ever, or too deep.
LONG = {
    "quotes": "> " * 20_000 + "a",
    "lists": "- " * 20_000 + "a",
    "stars": "*a " * 20_000,
    "pairs of stars": "**a " * 5_000 + "b** " * 5_000,
    "brackets": "[" * 20_000,
    "links": "[a](" * 20_000,
    "titles": '[a](b "' * 10_000,
    "ticks": " ".join("`" * (1 + i % 50) for i in range(5_000)),
    "escapes": "\\" * 50_000,
    "spaces": "# " + " " * 20_000 + "a",
    "bars": "|" * 20_000 + "\n" + "|-" * 20_000,
    "addresses": "https://" * 10_000,
    "closed": "https://a" + ")" * 20_000,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_no_text_takes_long_or_breaks_the_page(anywhere: Page, text: str) -> None:
    milliseconds: float = anywhere.evaluate(
        """async (text) => {
            const { renderMarkdown } = await import(new URL("web/markdown.js", location));
            const shown = document.body.appendChild(document.createElement("div"));
            const began = performance.now();
            renderMarkdown(shown, text);
            shown.getBoundingClientRect();
            const ended = performance.now();
            shown.remove();
            return ended - began;
        }""",
        text,
    )

    # A blow-up takes minutes; this machine may be busy.
    assert milliseconds < 5000
