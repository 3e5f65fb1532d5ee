import gzip
import hashlib
import io
from pathlib import Path

import pytest

from mlx_rev.config import DataConfig
from mlx_rev.data.corpus import open_corpus
from mlx_rev.data.sources.standard_input import naming_standard_input, said, spooled
from mlx_rev.data.sources.story_files import read_stories
from mlx_rev.errors import DataError


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (b"One.\n\nTwo.", ".txt"),
        (b'\n{"text": "One."}\n{"text": "Two."}', ".jsonl"),
        (b'\xef\xbb\xbf[\n"One.", "Two."]', ".jsonl"),
        (b"[One.\n\nTwo.", ".txt"),
        (gzip.compress(b"One.\n\nTwo."), ".txt.gz"),
        (gzip.compress(b'["One.", "Two."]'), ".jsonl.gz"),
        (b"PAR1 and so on", ".parquet"),
    ],
)
def test_what_comes_is_kept_by_its_content(tmp_path: Path, content: bytes, suffix: str) -> None:
    named = spooled("-", io.BytesIO(content), tmp_path)
    kept = Path(named)
    assert kept.name == hashlib.sha256(content).hexdigest() + suffix
    assert kept.read_bytes() == content
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    assert spooled("-", io.BytesIO(content), tmp_path) == named
    if suffix != ".parquet":
        assert [story.strip("[") for story in read_stories(kept)] == ["One.", "Two."]


def test_it_can_be_one_of_several(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("Three.\n\nFour.")
    data = spooled(f"{other},-=2", io.BytesIO(b"One.\n\nTwo."), tmp_path / "cache")
    assert spooled(data, None, tmp_path) == data
    config = DataConfig(data=data, valid_share=1e-9)
    train = list(open_corpus(config, tmp_path / "cache").train())
    assert train == ["Three.", "Four.", "One.", "Two.", "One.", "Two."]


def test_nothing_on_standard_input_is_said(tmp_path: Path) -> None:
    for stream, message in ((io.BytesIO(), "nothing came"), (None, "no file or pipe")):
        with pytest.raises(DataError, match=message):
            spooled("-", stream, tmp_path)
    with pytest.raises(DataError, match="standard input"):
        open_corpus(DataConfig(data="-"), tmp_path)
    assert not list(tmp_path.glob("*/*"))


def test_a_cache_with_a_comma_serves_for_one_source_alone(tmp_path: Path) -> None:
    cache, other = tmp_path / "a,b", tmp_path / "other.txt"
    other.write_text("Three.\n\nFour.")
    named = spooled("-", io.BytesIO(b"One.\n\nTwo."), cache)
    assert list(read_stories(named)) == ["One.", "Two."]
    for data in (f"{other},-", "-=2"):
        with pytest.raises(DataError, match=r"a,b/.*; give --cache a folder without a comma"):
            spooled(data, io.BytesIO(b"One.\n\nTwo."), cache)


def test_errors_name_it_and_not_the_file_it_is_kept_in(tmp_path: Path) -> None:
    kept = spooled("-", io.BytesIO(b'{"a": 1}'), tmp_path)
    refused = pytest.raises(DataError, match=r"^standard input: line 1 has no story")
    with refused, naming_standard_input(tmp_path):
        list(read_stories(kept))
    assert said(f"looking through {Path(kept).name}", tmp_path) == "looking through standard input"
    assert said(f"{kept}=2, x.txt", tmp_path) == "standard input=2, x.txt"
    gone, other = f"{kept}.gz: no such file", f"/mine/{Path(kept).name}: no such file"
    assert said(f"{gone}; {other}", tmp_path) == f"{gone}; {other}"
    assert said(f"the vocabulary {'0' * 64}", tmp_path) == f"the vocabulary {'0' * 64}"
