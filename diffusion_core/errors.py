"""The error that must not be retried: a run that diverged once diverges again."""


class NotFiniteError(ValueError):
    """A loss, or the output of a model or a sampler, is NaN or infinity."""
