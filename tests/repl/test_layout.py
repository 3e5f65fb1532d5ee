from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from mlx_rev.repl import layout
from mlx_rev.repl.layout import Frame, Line, lines_from_end, lines_from_start, visible

# Words, wide and combining characters, control characters, gaps and paragraphs.
texts = st.text(st.sampled_from("ab.,'\" \n\t\u3000\x07\u0301日本🙂é"), max_size=80) | st.text(
    max_size=60
)
widths = st.integers(2, 30)


def frame(text: str, width: int, height: int, *, leftwards: bool) -> Frame:
    lines = layout.wrapped(text, width, leftwards=leftwards)
    return layout.frame(lines, height, leftwards=leftwards)


def letters(text: str) -> str:
    return "".join(visible(text).split())


@given(texts, widths)
@example("\u0301 aaaaa", 2)
@example("ab\u3000", 3)
def test_lines_hold_the_text_and_no_line_is_too_wide(text: str, width: int) -> None:
    for lines in (lines_from_end(text, width), lines_from_start(text, width)):
        assert letters("".join(line.text for line in lines)) == letters(text)
        assert all(cell_len(line.text) <= width for line in lines)
        shown = visible(text)
        assert all(shown[line.start :].startswith(line.text) for line in lines)


@given(texts, widths, st.integers(1, 8), st.integers(0, 80))
def test_while_a_story_grows_only_its_newest_line_changes(
    text: str, width: int, height: int, cut: int
) -> None:
    later = frame(text, width, height, leftwards=True)
    if later.hidden:
        return
    # What is written comes a character at a time, with the marks that stand on it.
    earlier_text = text[min(cut, len(text)) :]
    if earlier_text and not cell_len(visible(earlier_text[0])) and earlier_text[0] != "\n":
        return
    earlier = frame(earlier_text, width, height, leftwards=True)
    shown = [None if line is None else line.text for line in earlier.lines]
    now = [None if line is None else line.text for line in later.lines]
    newest = next((place for place, line in enumerate(shown) if line is not None), 0)
    assert now[newest + 1 :] == shown[newest + 1 :]


@given(st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=40), widths)
def test_the_newest_line_only_gains_words_in_front(words: list[str], width: int) -> None:
    before: list[Line] = []
    for number in range(len(words) - 1, -1, -1):
        lines = lines_from_end(" ".join(words[number:]), max(6, width))
        if before:
            kept = lines[-len(before) :]
            assert [line.text for line in kept[1:]] == [line.text for line in before[1:]]
            assert kept[0].text.endswith(before[0].text)
        before = lines


@given(texts, widths, st.integers(1, 5), st.booleans())
def test_a_frame_has_its_height_and_counts_what_it_hides(
    text: str, width: int, height: int, leftwards: bool
) -> None:
    shown = frame(text, width, height, leftwards=leftwards)
    lines = (lines_from_end if leftwards else lines_from_start)(text, width)
    assert len(shown.lines) == height
    assert shown.hidden == max(0, len(lines) - height)
    full = [line for line in shown.lines if line is not None]
    assert full == (lines[:height] if leftwards else lines[-height:])


def test_lines_fill_from_the_bottom_right() -> None:
    shown = frame("one two three four", 10, 3, leftwards=True)
    assert [line and line.text for line in shown.lines] == [None, "one two", "three four"]
    shown = frame("zero one two three four", 10, 3, leftwards=True)
    assert [line and line.text for line in shown.lines] == ["zero", "one two", "three four"]
    assert frame("one two three", 10, 2, leftwards=False).lines[0] == Line("one two", 0)


def test_control_characters_are_pictures_of_themselves() -> None:
    assert visible("a\x1b[31m\x00\x7f\u202e\udcffb\tc\n") == "a␛[31m␀␡\ufffd\ufffdb c\n"
