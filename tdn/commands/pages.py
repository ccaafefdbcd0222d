"""`tdn pages`."""

from tdn.book.pages import main

__all__ = ["main"]
