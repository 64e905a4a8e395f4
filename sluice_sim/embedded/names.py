"""The names that moto translates, each translated once.

moto spells every operation and every attribute of a queue the way Python does whenever it meets it, letter
by letter: a fifth of what a play takes.
"""

from functools import cache

from moto.core import responses, utils
from moto.sqs import models

_spelt = cache(utils.camelcase_to_underscores)


def translate_once() -> None:
    """From now on in this process; what moto answers stays the same."""
    for module in (responses, models):
        vars(module)["camelcase_to_underscores"] = _spelt
