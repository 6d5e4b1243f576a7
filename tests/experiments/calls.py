"""What an experiment hands to a function that would take long."""

import pytest


class CalledError(Exception):
    """The function has been called; nothing after it is of interest."""


def given_to(monkeypatch, owner, name, run):
    """Runs until `owner.name` is called: (arguments, keyword arguments) of that call."""
    calls = []

    def called(*arguments, **options):
        calls.append((arguments, options))
        raise CalledError

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, called)
        with pytest.raises(CalledError):
            run()
    return calls[0]
