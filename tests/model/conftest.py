from tests.forms import backend

__all__ = ["backend"]
