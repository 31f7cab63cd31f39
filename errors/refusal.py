"""One exception for everything that is the user's to mend."""


class Refusal(Exception):
    """An input or a state that is refused, said in one line: what is wrong, where, and what to do.

    Rooms raise it (or a subclass with a name of its own) instead of a bare ``ValueError`` where the cause
    is something a person can change: a file, a config key, a missing device. The command line prints the
    message alone, without a traceback, and exits with code 1.

    Args:
        what: what is wrong and where, with the offending figure or path.
        remedy: what the person can do about it.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}; {remedy}" if remedy else what)
