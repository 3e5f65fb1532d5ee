"""A story's text while its tokens arrive, safe in the middle of a UTF-8 character."""

import codecs
from collections.abc import Sequence

from mlx_rev.text.codec import Prompt, StoryCodec
from mlx_rev.text.order import Order


class StoryStream:
    """Un-reverses generated tokens as they come.

    `generated` is the text so far, in reading order, without the prompt's; `story` puts it and
    the prompt as typed together. A character of which only some bytes have come is held back.
    """

    def __init__(self, codec: StoryCodec, prompt: Prompt, spelling: Sequence[int]) -> None:
        self._codec = codec
        self._prompt = prompt
        self._finished = False
        self._content = b""
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._starts_text = len(spelling) == 1
        if codec.reversal is Order.TOKEN and not self._starts_text:
            piece = codec.tokenizer.piece_bytes[spelling[-1]]
            self._content = b" " if piece.startswith(b" ") and not self._typed_space() else b""

    def push(self, token: int) -> None:
        """Add one generated token."""
        piece = self._codec.tokenizer.piece_bytes[token]
        if self._codec.reversal is Order.TOKEN:
            self._content = piece + self._content
            return
        if self._starts_text and piece:
            piece = self._codec.tokenizer.without_added_space(piece)
            self._starts_text = False
        self._text += self._decoder.decode(piece)

    def finish(self) -> None:
        """The boundary was reached: the beginning of the story is there."""
        self._finished = True
        self._text += self._decoder.decode(b"", final=True)

    @property
    def generated(self) -> str:
        """The text generated so far, in reading order."""
        if self._codec.reversal is not Order.TOKEN:
            return self._codec.reversal.restore(self._text)
        content = self._content
        if self._finished:
            content = self._codec.tokenizer.without_added_space(content)
        else:
            content = content.lstrip(_CONTINUATION_BYTES)
        return content.decode(errors="replace")

    @property
    def story(self) -> str:
        """The prompt as typed, with the generated text on the side where it belongs."""
        if self._codec.reversal.grows_leftwards:
            return self.generated + self._prompt.text
        return self._prompt.text + self.generated

    def _typed_space(self) -> bool:
        return self._prompt.text[:1].isspace()


_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))
