"""The error of this package, which reports several problems at once."""


class TemplateError(ValueError):
    """A template or its parameters cannot be resolved; `problems` holds one sentence each."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
