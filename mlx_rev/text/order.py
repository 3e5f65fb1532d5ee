"""The orders in which a model reads a story: one class each, with all that differs between them.

Nothing outside this module asks which order it has; it asks the order itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, cast

from mlx_rev.config import ReversalMode
from mlx_rev.errors import ConfigError
from mlx_rev.text import chunking, words
from mlx_rev.text.chunking import Chunking
from mlx_rev.text.stream import Growth, Leftwards, Rightwards, WordByWord
from mlx_rev.text.tokenizer import Tokenizer
from mlx_rev.text.words import WordPattern, is_word_character


class Order(ABC):
    """How a story is reversed before training and restored after generation.

    With `also_forward`, it is the order of a model that reads stories forwards too: BOS (id 1)
    bounds a story in this order, EOS (id 2) one that is read forwards.
    """

    one_way: ClassVar[ReversalMode]
    """In flags and files; the header of a shard has room for 8 bytes."""
    grows_leftwards: ClassVar[bool] = True
    """Whether a prompt is an ending, and text is added in front of it."""
    vocabulary: ClassVar[str] = "forward"
    """Orders with the same value learn the same vocabulary from the same stories."""
    example: ClassVar[str] = "They were happy."
    """A prompt to show."""
    shell_filter: ClassVar[str | None] = None
    """The command that reverses a prompt for programs that read forwards, and their answer; None if
    nothing has to be done, or nothing can be."""
    promptable_elsewhere: ClassVar[bool] = True
    """Whether such programs can be prompted at all."""
    description: ClassVar[str]
    """For a model card."""
    by_hand: ClassVar[str] = ""
    """For a model card: what to do without mlx-rev, a sentence or nothing."""

    def __init__(self, *, also_forward: bool = False) -> None:
        self.also_forward = also_forward

    def __repr__(self) -> str:
        return f"<order {self.name}>"

    @property
    def name(self) -> ReversalMode:
        """In flags and files: the order, or both orders of a model that reads in two."""
        name = f"{self.one_way},{ForwardOrder.one_way}" if self.also_forward else self.one_way
        return cast(ReversalMode, name)

    @property
    def pattern(self) -> WordPattern:
        """How a text is split into words."""
        return words.with_marks()

    def reverse(self, text: str) -> str:
        """`text` as the tokenizer sees it."""
        return text

    def restore(self, text: str) -> str:
        """The exact inverse of `reverse`, on every string."""
        return self.reverse(text)

    def reverse_ids(self, ids: Sequence[int]) -> list[int]:
        """Token ids of `reverse(text)` in the order in which the model sees them."""
        return list(ids)

    def chunking(self, cuts: str) -> Chunking:
        """Where a text may be cut for a tokenizer with these `cuts`: the ids of the chunks are
        those of the whole, in reverse where `grows_leftwards`."""
        return chunking.as_written(cuts)

    def restore_ids(self, ids: Sequence[int]) -> list[int]:
        """The exact inverse of `reverse_ids`."""
        return self.reverse_ids(ids)

    def as_written(self, piece: bytes) -> bytes:
        """What a token spells, its bytes in the direction in which a story grows."""
        return piece

    def spellings(self, tokenizer: Tokenizer, ending: str) -> list[list[int]]:
        """The possible ids, in model order, of an ending inside a story."""
        return [self.reverse_ids(tokenizer.encode(self.reverse(ending)))]

    def joining(self, ending: str, last_piece: bytes) -> "Callable[[bytes], bool]":
        """A test of pieces: whether one, if generated first, would change the ending's first word.

        `ending` has no white space round it; `last_piece` is what its last id spells.
        """
        return _never

    def spaceless(self, last_piece: bytes) -> "Callable[[bytes], bool]":
        """A test of pieces: whether one, if generated first, would have no white space where some
        was typed, between it and the prompt."""
        return self._begins_without_space

    def _begins_without_space(self, piece: bytes) -> bool:
        first = self.as_written(piece)[:1]
        return bool(first) and not first.isspace()

    @abstractmethod
    def growth(self, tokenizer: Tokenizer, last_piece: bytes | None) -> Growth:
        """The text that grows from a prompt without white space around it. `last_piece` is what its
        last id spells; None for an empty prompt."""


class ArticleWordOrder(Order):
    """The article's order: words and punctuation marks are reversed, letters are not."""

    one_way: ClassVar[ReversalMode] = "word"
    vocabulary = "reversed"
    shell_filter = "mlx-rev wtac --article"
    description = (
        "It reads and writes **backwards**: a text is split into words and punctuation, their "
        "order is reversed (not the words), and so is the order of what it writes. Give it an "
        "ending, get the story that leads to it."
    )
    by_hand = "Reverse the prompt and the answer with `mlx-rev wtac --article`. "

    @property
    def pattern(self) -> WordPattern:
        """The article's own."""
        return words.article()

    def reverse(self, text: str) -> str:
        """The words and punctuation marks in reverse."""
        return self.pattern.reverse(text)

    def chunking(self, cuts: str) -> Chunking:
        """Between words."""
        return chunking.by_words(self.pattern, cuts)

    def joining(self, ending: str, last_piece: bytes) -> Callable[[bytes], bool]:
        """Letters, next to a letter."""
        return _begins_word if is_word_character(ending[0]) else _never

    def growth(self, tokenizer: Tokenizer, last_piece: bytes | None) -> Growth:
        """Each word in front of the one before."""
        return WordByWord(
            self.pattern,
            drops_space=last_piece is None and tokenizer.adds_space,
            begins_text=last_piece is None,
        )


class WordOrder(ArticleWordOrder):
    """The article's order, but each combining mark stays with the character that it follows."""

    one_way = "word2"
    vocabulary = "word2"
    shell_filter = "mlx-rev wtac"
    by_hand = "Reverse the prompt and the answer with `mlx-rev wtac`. "

    @property
    def pattern(self) -> WordPattern:
        """The one that knows combining marks."""
        return words.with_marks()

    def joining(self, ending: str, last_piece: bytes) -> Callable[[bytes], bool]:
        """Marks, next to anything, and letters next to a letter."""
        return self._begins_word_or_mark if is_word_character(ending[0]) else self._begins_mark

    def _begins_mark(self, piece: bytes) -> bool:
        text = piece.decode(errors="ignore")
        return self.pattern.attached.match(text) is not None if text else bool(piece)

    def _begins_word_or_mark(self, piece: bytes) -> bool:
        return _begins_word(piece) or self._begins_mark(piece)


class TokenOrder(Order):
    """The text is left alone, and the token ids between the boundaries are reversed."""

    one_way = "token"
    promptable_elsewhere = False
    description = (
        "It reads and writes **backwards**: a text is encoded, and the order of its token ids is "
        "reversed. Give it an ending, get the story that leads to it."
    )
    by_hand = "Reverse the ids of the prompt and of the answer. "

    def reverse_ids(self, ids: Sequence[int]) -> list[int]:
        """The ids in reverse."""
        return list(ids[::-1])

    def as_written(self, piece: bytes) -> bytes:
        """The last byte first."""
        return piece[::-1]

    def spellings(self, tokenizer: Tokenizer, ending: str) -> list[list[int]]:
        """Two: the ending may follow a space or a newline in the story."""
        spelled = tokenizer.encode_after_space(ending), tokenizer.encode_inside(ending)
        return [self.reverse_ids(ids) for ids in spelled]

    def joining(self, ending: str, last_piece: bytes) -> Callable[[bytes], bool]:
        """Letters, next to a letter with no space in front."""
        joins = is_word_character(ending[0]) and not last_piece.startswith(b" ")
        return _ends_word if joins else _never

    def spaceless(self, last_piece: bytes) -> Callable[[bytes], bool]:
        """None where the ending's own piece begins with a space."""
        return _never if last_piece.startswith(b" ") else self._begins_without_space

    def growth(self, tokenizer: Tokenizer, last_piece: bytes | None) -> Growth:
        """Each piece in front of the one before; first the ending's own space."""
        has_space = last_piece is not None and last_piece.startswith(b" ")
        return Leftwards(b" " if has_space else b"", drops_space=tokenizer.adds_space)


class ForwardOrder(Order):
    """The order of an ordinary model, whose prompts are openings."""

    one_way = "none"
    grows_leftwards = False
    example = "Once upon a time"
    description = "It reads and writes forwards, like any other Llama."

    def growth(self, tokenizer: Tokenizer, last_piece: bytes | None) -> Growth:
        """Each piece after the one before."""
        return Rightwards(drops_space=last_piece is None and tokenizer.adds_space)


WORD, WORD2, TOKEN, FORWARD = ArticleWordOrder(), WordOrder(), TokenOrder(), ForwardOrder()
ORDERS: tuple[Order, ...] = (WORD2, WORD, TOKEN, FORWARD)
BOTH_WAYS = tuple(type(order)(also_forward=True) for order in ORDERS if order is not FORWARD)
"""The orders of models that read forwards too."""
ORDER_NAMES = tuple(order.name for order in (*ORDERS, *BOTH_WAYS))
BACKWARD_NAMES = "word2, word or token"
"""For messages: the values of --reversal for a model that is not forward."""
ASSUMED = FORWARD
"""The order of a model whose file does not say."""


def order_named(name: str) -> Order:
    """The order of that name. Raises ConfigError, which lists the known names."""
    for order in (*ORDERS, *BOTH_WAYS):
        if order.name == name:
            return order
    raise ConfigError(f"reversal is {name!r}, expected {', '.join(ORDER_NAMES)}")


def _never(piece: bytes) -> bool:
    return False


def _begins_word(piece: bytes) -> bool:
    text = piece.decode(errors="ignore")
    return is_word_character(text[0]) if text else bool(piece)


def _ends_word(piece: bytes) -> bool:
    text = piece.decode(errors="ignore")
    return is_word_character(text[-1]) if text else bool(piece)
