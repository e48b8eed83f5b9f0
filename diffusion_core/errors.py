"""The error that would come again: what diverged once diverges each time."""


class NotFiniteError(ValueError):
    """A loss, or what a model returned, is NaN or infinity."""
