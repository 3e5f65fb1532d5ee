"""Stories as files that replay how they grew."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlx_rev.config import SampleConfig
from mlx_rev.generate.story import Story
from mlx_rev.repl.replaying import picture, web_page
from mlx_rev.repl.saving import as_object, save_story
from mlx_rev.repl.transcript import Settled
from mlx_rev.ui.visible import visible

SVG = "{http://www.w3.org/2000/svg}"
ATTACK = (
    '</script><script src="http://x">]]> <img src=//y onerror=z> $title ${story} &amp; \x1b[31m'
)


def made(generated: str, prompt: str, *, leftwards: bool = True) -> Story:
    return Story(
        prompt=prompt,
        spelling=(1,),
        leftwards=leftwards,
        growth=Settled(generated),
        model="/somewhere/runs/mine",
        seed=7,
        settings=SampleConfig(seed=7, temperature=0.5),
        finished="boundary",
    )


class Page(HTMLParser):
    """The story of a page, its words by their class, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self._class = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._class = dict(attrs).get("class") or ""

    def handle_endtag(self, tag: str) -> None:
        self._class = ""

    def handle_data(self, data: str) -> None:
        if self._class in ("word", "given"):
            self.words.append((self._class, data))


def shown(text: str) -> str:
    return visible(text).translate({0xFFFE: "\ufffd", 0xFFFF: "\ufffd"})


TAGS = [tag for tag in Page(web_page(made("x", "y"))).tags if tag != "span"]


@given(st.text(max_size=40), st.text(max_size=20), st.booleans())
@example(ATTACK, ATTACK, True)
def test_a_page_has_the_story_as_text(generated: str, prompt: str, leftwards: bool) -> None:
    story = made(generated, prompt, leftwards=leftwards)
    content = web_page(story)
    page = Page(content)
    assert "".join(word for _, word in page.words) == shown(story.text)
    assert "".join(word for kind, word in page.words if kind == "word") == shown(generated)
    assert [tag for tag in page.tags if tag != "span"] == TAGS


@given(st.text(max_size=120), st.text(max_size=60), st.booleans())
@example(ATTACK, ATTACK, True)
def test_a_picture_has_the_words_where_the_terminal_has_them(
    generated: str, prompt: str, leftwards: bool
) -> None:
    story = made(generated, prompt, leftwards=leftwards)
    root = ElementTree.fromstring(picture(story))
    words = [each for each in root.iter(f"{SVG}text") if each.get("class") in ("word", "given")]
    drawn = "".join("".join(each.itertext()) for each in words)
    assert re.sub(r"\s", "", drawn) == re.sub(r"\s", "", shown(story.text))
    assert len(list(root.iter(f"{SVG}script"))) == 1
    edge = float(root.get("viewBox", "").split()[2])
    for each in words:
        assert float(each.get("x", "")) + float(each.get("textLength", "")) <= edge


def test_words_come_in_the_order_in_which_they_were_written() -> None:
    for leftwards, order in ((True, ["three", "two", "one"]), (False, ["one", "two", "three"])):
        root = ElementTree.fromstring(picture(made("one two\nthree ", "End.", leftwards=leftwards)))
        begins = {}
        for each in root.iter(f"{SVG}text"):
            if each.get("class") == "word":
                moves = each.find(f"{SVG}animate")
                times = "0;0" if moves is None else moves.get("keyTimes", "")
                begins["".join(each.itertext())] = float(times.split(";")[1])
        assert sorted(begins, key=lambda word: begins[word]) == order
        assert begins[order[0]] == 0
        assert max(begins.values()) < 1


def test_a_beginning_is_given_as_the_ending_is(tmp_path: Path) -> None:
    story = made("A fox ran. It slept. ", "They\nran.")
    story.beginning = "A fox ran."
    parts = Page(web_page(story)).words
    assert [text for kind, text in parts if kind == "given"] == ["A fox ran.", "They\nran."]
    root = ElementTree.fromstring(picture(story))
    given = [each.text for each in root.iter(f"{SVG}text") if each.get("class") == "given"]
    assert given == ["A", "fox", "ran.", "They", "ran."]
    save_story(story, tmp_path / "story.md")
    said = "Beginning given: A fox ran.\n\nEnding given: They ran.\n"
    assert (tmp_path / "story.md").read_text().endswith(said)
    assert as_object(story)["beginning"] == "A fox ran."


@pytest.mark.parametrize("make", [web_page, picture])
def test_nothing_is_fetched(make: Callable[[Story], str]) -> None:
    content = make(made("One day. ", "They ran."))
    found = set(re.findall(r"""(?:https?:)?//[\w.]+[^\s"')]*""", content))
    assert {each for each in found if "." in each} <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"""\b(src|href|import|fetch|url)\s*[=(]""", content)
    assert "mine, seed 7" in content
    assert "/somewhere" not in content


def test_who_wrote_it_is_named_shortly_with_all_settings(tmp_path: Path) -> None:
    story = made("One day. ", "They\nran.")
    save_story(story, tmp_path / "story.md")
    text = (tmp_path / "story.md").read_text()
    settings = "temperature 0.5, top_k 0, top_p 0.95, min_p 0.0, repetition_penalty 1.0"
    assert f"Model: mine, seed 7, {settings}, max_tokens 0. Ending given: They ran.\n" in text
    save_story(story, tmp_path / "story.json")
    found = json.loads((tmp_path / "story.json").read_text())
    assert found == json.loads(json.dumps(as_object(story)))
    assert (found["model"], found["reference"]) == ("mine", "/somewhere/runs/mine")
    assert found["settings"]["temperature"] == 0.5
    assert found["story"] == "One day. They\nran."
