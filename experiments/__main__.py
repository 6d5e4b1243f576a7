"""Lists the experiments: `python -m experiments`."""

import ast
import pathlib


def experiments() -> dict[str, str]:
    """The first line of each experiment's docstring, by name; none of them is imported."""
    texts = {path.stem: path.read_text() for path in sorted(pathlib.Path(__file__).parent.glob("[a-z]*.py"))}
    commands = {name: ast.parse(text) for name, text in texts.items() if '__name__ == "__main__"' in text}
    return {name: (ast.get_docstring(tree) or "").partition("\n")[0] for name, tree in commands.items()}


if __name__ == "__main__":
    print("python -m experiments.NAME --help explains an experiment's options.")
    print('They need pip install -e ".[experiments]"; translation ".[experiments,catalogues]", digits ".[digits]".\n')
    for name, line in experiments().items():
        print(f"{name:<24} {line}")
