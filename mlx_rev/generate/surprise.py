"""Which words of a story surprised the model that wrote it."""

from collections.abc import Sequence

from mlx_rev.text.codec import StoryCodec


def word_surprises(
    codec: StoryCodec, generated: str, tokens: Sequence[int], surprises: Sequence[float]
) -> list[tuple[str, float]]:
    """The words, marks and gaps of a generated text in reading order, each with its bits.

    A token's bits count towards the first word or mark that it spells, or towards a gap if it
    spells nothing else. The texts join to `generated`; the bits sum to those of the tokens that
    spell anything.
    """
    order = codec.order
    pieces = [part.encode() for part in order.pattern.parts(generated) if part]
    if order.grows_leftwards:
        pieces.reverse()
    first = order.as_written(pieces[0])[:1] if pieces else b""
    bits = [0.0] * len(pieces)
    # Where each part ends, in bytes, walking in the direction in which the model wrote.
    ends: list[int] = []
    for piece in pieces:
        ends.append((ends[-1] if ends else 0) + len(piece))
    place, part = 0, 0
    for token, surprise in zip(tokens, surprises, strict=True):
        spelled = order.as_written(codec.tokenizer.piece_bytes[token])
        if not place and first != b" ":
            spelled = codec.tokenizer.without_added_space(spelled)
        if not spelled or not pieces:
            continue
        if not place and not first.isspace():  # the prompt's own white space stands there
            spelled = spelled.lstrip()
        gap = len(spelled) - len(spelled.lstrip())
        word_start = place + (gap if gap < len(spelled) else 0)
        while part < len(ends) - 1 and ends[part] <= word_start:
            part += 1
        bits[part] += surprise
        place += len(spelled)
    shown = [(piece.decode(), own) for piece, own in zip(pieces, bits, strict=True)]
    return shown[::-1] if order.grows_leftwards else shown
