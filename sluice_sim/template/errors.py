"""The one error of a template: it owns how several problems are told at once, and refuses nothing itself."""


class TemplateError(ValueError):
    """A template or its parameters cannot be resolved; `problems` holds one sentence each."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
