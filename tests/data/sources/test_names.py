from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlx_rev.data.sources.names import Named, hub_name, is_downloaded, joined, sources_in
from mlx_rev.errors import DataError


def named(data: str) -> list[tuple[str, float]]:
    return [(one.name, one.weight) for one in sources_in(data)]


def test_one_several_and_their_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named("a.txt") == [("a.txt", 1)]
    assert named("a.txt=2") == [("a.txt", 2)]
    mixture = "tinystories=0.5, hf:me/tales/en:text@main=3,*.txt,b=c.txt"
    assert named(mixture) == [
        ("tinystories", 0.5),
        ("hf:me/tales/en:text@main", 3),
        ("*.txt", 1),
        ("b=c.txt", 1),
    ]
    assert sources_in(joined(sources_in(mixture))) == sources_in(mixture)


@pytest.mark.parametrize("name", ["a,b.txt", "a=2", "a.txt=2,b.txt"])
def test_what_is_there_is_one_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    assert sources_in(name) == [Named(name)]
    assert sources_in(f"{name[:-1]}?") == [Named(f"{name[:-1]}?")]


@pytest.mark.parametrize(
    "data", ["", " ", "a.txt,", ",a.txt", "a.txt=0", "a.txt=0.0,b.txt", "a=1001,b"]
)
def test_what_makes_no_sense_is_refused(data: str) -> None:
    with pytest.raises(DataError):
        sources_in(data)


def test_names_on_the_hub() -> None:
    found = hub_name("hf:me/my.tales/data/en:tale@refs/convert/parquet")
    assert (found.repository, found.path) == ("me/my.tales", "data/en")
    assert (found.column, found.revision) == ("tale", "refs/convert/parquet")
    plain = hub_name("hf:me/tales")
    assert (plain.path, plain.column, plain.revision) == ("", None, None)
    for wrong in ("hf:", "hf:tales", "hf:me/", "hf:me/..", "hf:me/tales/../x", "hf:me me/tales"):
        with pytest.raises(DataError, match="expected hf:owner/name"):
            hub_name(wrong)


def test_what_is_downloaded() -> None:
    assert is_downloaded("a.txt,tinystories-v2=2")
    assert is_downloaded("hf:me/tales")
    assert not is_downloaded("bundled,a.txt")


names = st.text("ab=.,1 -:*/", max_size=6)
weights = st.floats(0, 1000, exclude_min=True).map(lambda weight: format(Decimal(weight), "f"))
mixtures = st.lists(names | st.builds("{}={}".format, names, weights | names), max_size=3)


@given(mixtures.map(",".join))
@example("a=0.3333333333333333,b")
@example("a=0.0000001")
@example("a=2=1")
@example("a =1,b")
@example(",".join(["a.txt"] * 100))
def test_what_was_read_can_be_written_and_read_again(data: str) -> None:
    try:
        sources = sources_in(data)
    except DataError:
        return
    assert sources_in(joined(sources)) == sources


def test_weights_are_written_as_a_person_would() -> None:
    sources = [Named("a", 2), Named("b", 0.5), Named("c", 1e-7), Named("d", 1.0)]
    assert joined(sources) == "a=2,b=0.5,c=0.0000001,d"
