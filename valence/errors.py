"""Every stage: the one error for input that a person has to correct. Jobs print it and exit with code 2."""


class BadInput(ValueError):
    """Something given from outside cannot be used.

    The message names three things: what was got, what is allowed, and what to do. It is shown without a traceback.
    """

    def __init__(self, got: str, *, allowed: str, do: str):
        super().__init__(f"{got}\n  allowed: {allowed}\n  to do:   {do}")

    def __reduce__(self):
        # Ray pickles exceptions across processes; the default would call __init__ with the joined message alone.
        return (_rebuild, (str(self),))


def _rebuild(message: str) -> BadInput:
    error = BadInput.__new__(BadInput)
    ValueError.__init__(error, message)
    return error
