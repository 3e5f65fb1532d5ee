from tests.formats.conftest import tokenizer

__all__ = ["tokenizer"]
