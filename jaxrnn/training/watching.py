"""Callbacks and loggers, which observe the training of a model."""

import abc
import contextlib
import csv
import itertools
import json
import shutil
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TextIO

import jax
import numpy as np
import optax

from jaxrnn import checks
from jaxrnn.training.history import History
from jaxrnn.training.state import TrainState


class BlockEnd(NamedTuple):
    """The argument of a callback of `fit`, after each block.

    Attributes:
      step: the number of steps taken.
      train: by name ("loss", "gradient_norm" and the metrics) a value for each step of the block.
      validation: by name the measurements of the validation at the block's end; empty without a validation.
      state: the TrainState. The next block overwrites its arrays: copy those that you keep.
      seconds: seconds spent running so far, without compiling.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> def stop_early(end):
      ...     return end.train["loss"].mean() < 0.5
      >>> model, xs = jaxrnn.chain(jaxrnn.gru(1, 4), jaxrnn.dense(4, 1)), jax.numpy.ones((5, 8, 1))
      >>> result = jaxrnn.fit(
      ...     model, jaxrnn.losses.mean_squared_error, optax.adam(1e-1), {"xs": xs, "targets": xs}, steps=200, block=10,
      ...     batch_size=4, key=jax.random.key(0), callback=stop_early, progress=False,
      ... )
      >>> result.history.stopped
      'callback'
    """

    step: int
    train: dict[str, np.ndarray]
    validation: dict[str, float]
    state: TrainState
    seconds: float

    @classmethod
    def of(cls, history: History, state: TrainState, count: int) -> "BlockEnd":
        """Takes the last `count` steps of a history."""
        validated = len(history.validation_steps) and history.validation_steps[-1] == history.steps
        validation = {name: float(x[-1]) for name, x in history.validation.items()} if validated else {}
        train = {name: x[-count:] for name, x in history.train.items()}
        return cls(history.steps, train, validation, state, history.run_seconds)


Callback = Callable[[BlockEnd], object]
"""A function that is called after each block; a true return value ends the run."""
Schedule = Callable[[int], jax.typing.ArrayLike]
"""step -> learning rate."""


class Logger(abc.ABC):
    """A callback that writes a row of numbers after each block: means over its steps, and the validation.

    If a logger fails, a warning says so and the run goes on without it.

    Args:
      learning_rate: a schedule, step -> learning rate, to be written, too. None: the value that
        `optax.inject_hyperparams` calls "learning_rate", if the optimizer has it.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> class Rows(jaxrnn.training.Logger):
      ...     rows = []
      ...
      ...     def write(self, step, values):
      ...         self.rows.append((step, sorted(values)))
      >>> model, xs = jaxrnn.chain(jaxrnn.gru(1, 4), jaxrnn.dense(4, 1)), jax.numpy.ones((5, 8, 1))
      >>> result = jaxrnn.fit(
      ...     model, jaxrnn.losses.mean_squared_error, optax.adam(1e-2), {"xs": xs, "targets": xs}, steps=10,
      ...     batch_size=4, key=jax.random.key(0), callback=Rows(), progress=False,
      ... )
      >>> Rows.rows
      [(10, ['gradient_norm', 'loss', 'seconds'])]
    """

    def __init__(self, learning_rate: Schedule | None = None) -> None:
        self.learning_rate: Schedule | None = (
            None if learning_rate is None else checks.function("learning_rate", learning_rate, "step")
        )

    def __call__(self, end: BlockEnd) -> None:
        values = {name: float(np.mean(x)) for name, x in end.train.items()}
        values |= {f"validation_{name}": x for name, x in end.validation.items()}
        rate = learning_rate(end.state) if self.learning_rate is None else self.learning_rate(end.step)
        if rate is not None:
            values["learning_rate"] = float(np.asarray(rate))
        self.write(end.step, values | {"seconds": end.seconds})

    def begin(self, step: int) -> None:  # noqa: B027
        """Called when a run begins or resumes after `step` steps; rows of later steps have to be removed."""

    @abc.abstractmethod
    def write(self, step: int, values: dict[str, float]) -> None:
        """Writes the measurements of the block that ended with this step."""

    def close(self) -> None:  # noqa: B027
        """Called at the end of the run, whatever ends it."""


def learning_rate(state: TrainState) -> jax.Array | None:
    """The learning rate in the state of `optax.inject_hyperparams`; None if the optimizer has no such state."""
    found = optax.tree.get_all_with_path(state.opt_state, "learning_rate")
    return found[0][1] if found and np.ndim(found[0][1]) == 0 else None


class FileLogger(Logger):
    """A logger that writes one row per line; a resumed run removes the rows of later steps."""

    def __init__(self, path: checks.PathLike, learning_rate: Schedule | None = None) -> None:
        super().__init__(learning_rate)
        self.path = checks.path("path", path)
        self._file: TextIO | None = None
        self._columns: list[str] = []

    def begin(self, step: int) -> None:
        self.keep(lambda row: int(row["step"]) <= step) if step else self._rewrite([])

    def keep(self, wanted: Callable[[dict[str, Any]], bool | None]) -> None:
        """Opens the file, and removes all rows but the wanted ones; None: a row of something else, kept in a copy."""
        rows = self._read() if self.path.exists() else []
        answers = [wanted(row) for row in rows]
        if None in answers:
            self._copy("rows of something else")
        self._rewrite([row for row, answer in zip(rows, answers, strict=True) if answer])

    def write(self, step: int, values: dict[str, float]) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.begin(step - 1)
        self.add([{"step": step} | values])

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Adds rows to the file, which is open, and is made again if it was deleted."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._rewrite([])
        if self._columns and any(row.keys() - self._columns for row in rows):
            self._rewrite([*self._read(), *rows])
            return
        for row in rows:
            self._put(row)
        assert self._file is not None
        self._file.flush()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        self.close()
        self._columns, partial = [*dict.fromkeys(name for row in rows for name in row)], f".{self.path.name}.partial"
        self._file = self.path.with_name(partial).open("w", newline="")
        self._head()
        for row in rows:
            self._put(row)
        self._file.flush()
        self.path.with_name(partial).replace(self.path)

    def _read(self) -> list[dict[str, Any]]:
        """The file's rows. If some of its lines are not rows, a copy of the file is kept, and a warning says so."""
        lines = self.path.read_bytes().decode(errors="replace").split("\n")[:-1]  # a killed process may leave a part
        parsed = self._parsed([line for line in lines if line.strip()])
        rows = [row for row in parsed if row is not None]
        if len(rows) < len(parsed):
            self._copy("lines that can't be read")
        return rows

    def _copy(self, why: str) -> None:
        number = next(n for n in itertools.count(1) if not self.path.with_name(f"{self.path.name}.{n}").exists())
        copy = shutil.copy(self.path, f"{self.path}.{number}")
        warnings.warn(f"callback: {self.path} has {why}; {copy} is a copy", stacklevel=8)

    def _head(self) -> None:
        pass

    @abc.abstractmethod
    def _put(self, row: dict[str, Any]) -> None: ...

    @abc.abstractmethod
    def _parsed(self, lines: list[str]) -> list[dict[str, Any] | None]: ...


class CSVLogger(FileLogger):
    """Writes a table: a column for each measurement.

    Args:
      path: of the file, such as "metrics.csv".
      learning_rate: see `Logger`.

    Example:
      >>> import pathlib, tempfile
      >>> import jax, optax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.gru(1, 4), jaxrnn.dense(4, 1))
      >>> xs = jax.random.normal(jax.random.key(0), (5, 8, 1))
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "metrics.csv"
      >>> result = jaxrnn.fit(
      ...     model, jaxrnn.losses.mean_squared_error, optax.adam(1e-2), {"xs": xs, "targets": xs}, steps=20, block=10,
      ...     batch_size=4, key=jax.random.key(1), callback=jaxrnn.training.CSVLogger(path), progress=False,
      ... )
      >>> [row.split(",")[0] for row in path.read_text().splitlines()]
      ['step', '10', '20']
    """

    def _head(self) -> None:
        if self._columns:
            csv.writer(self._file).writerow(self._columns)  # pyright: ignore[reportArgumentType]

    def _put(self, row: dict[str, Any]) -> None:
        if not self._columns:
            self._columns = [*row]
            self._head()
        csv.DictWriter(self._file, self._columns).writerow(row)  # pyright: ignore[reportArgumentType]

    def _parsed(self, lines: list[str]) -> list[dict[str, Any] | None]:
        head, *table = ([*csv.reader([line.rstrip("\r")])] or [[]] for line in lines or ["step"])
        found: list[dict[str, Any] | None] = [None] * ("step" not in head[0])
        for (values,) in table:
            if not values:
                continue
            try:
                row = dict(zip(head[0], values, strict=True))
                _ = int(row["step"]), [float(x) for x in values if x]
                found.append(row)
            except (ValueError, KeyError):
                found.append(None)
        return found


class JSONLLogger(FileLogger):
    """Writes one JSON object per line; numbers that are not finite become null.

    Args:
      path: of the file, such as "metrics.jsonl".
      learning_rate: see `Logger`.

    Example:
      >>> import pathlib, tempfile
      >>> import jax, optax
      >>> import jaxrnn
      >>> model, xs = jaxrnn.chain(jaxrnn.gru(1, 4), jaxrnn.dense(4, 1)), jax.numpy.ones((5, 8, 1))
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "metrics.jsonl"
      >>> result = jaxrnn.fit(
      ...     model, jaxrnn.losses.mean_squared_error, optax.adam(1e-2), {"xs": xs, "targets": xs}, steps=20, block=10,
      ...     batch_size=4, key=jax.random.key(0), callback=jaxrnn.training.JSONLLogger(path), progress=False,
      ... )
      >>> len(path.read_text().splitlines())
      2
    """

    def _put(self, row: dict[str, Any]) -> None:
        assert self._file is not None
        finite = {name: x if np.isfinite(x) else None for name, x in row.items()}
        self._file.write(json.dumps(finite) + "\n")

    def _parsed(self, lines: list[str]) -> list[dict[str, Any] | None]:
        found = []
        for line in lines:
            try:
                row = json.loads(line)
                row["step"].bit_length()  # an integer
                found.append({name: np.nan if x is None else x + 0 for name, x in row.items()})
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                found.append(None)
        return found


class TensorBoardLogger(Logger):
    """Writes scalars for TensorBoard, by tensorboardX.

    Args:
      folder: the folder of the event files.
      learning_rate: see `Logger`.

    Raises:
      ImportError: tensorboardX is not installed.

    Example:
      >>> import pathlib, tempfile
      >>> import jax, optax
      >>> import jaxrnn
      >>> model, xs = jaxrnn.chain(jaxrnn.gru(1, 4), jaxrnn.dense(4, 1)), jax.numpy.ones((5, 8, 1))
      >>> folder = pathlib.Path(tempfile.mkdtemp()) / "first"
      >>> result = jaxrnn.fit(
      ...     model, jaxrnn.losses.mean_squared_error, optax.adam(1e-2), {"xs": xs, "targets": xs}, steps=20, block=10,
      ...     batch_size=4, key=jax.random.key(0), callback=jaxrnn.training.TensorBoardLogger(folder), progress=False,
      ... )
      >>> [path.name.split(".")[0] for path in folder.iterdir()]
      ['events']
    """

    def __init__(self, folder: checks.PathLike, learning_rate: Schedule | None = None) -> None:
        super().__init__(learning_rate)
        try:
            import tensorboardX
        except ImportError as error:
            raise ImportError('TensorBoardLogger needs tensorboardX: pip install "jaxrnn[tensorboard]"') from error
        self._make, self._writer = tensorboardX.SummaryWriter, None
        self.folder = checks.path("folder", folder, "directory")

    def begin(self, step: int) -> None:
        self._writer = self._make(str(self.folder), purge_step=step + 1 if step else None)

    def write(self, step: int, values: dict[str, float]) -> None:
        if self._writer is None:
            self.begin(0)
        assert self._writer is not None
        for name, x in values.items():
            self._writer.add_scalar(name.replace("validation_", "validation/"), x, step)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


class WandbRun(Protocol):
    """The part of a run of Weights & Biases that `WandbLogger` uses."""

    def log(self, data: dict[str, Any], /, *, step: int) -> None:
        """Logs numbers by name."""


class WandbLogger(Logger):
    """Logs to a run of Weights & Biases.

    Args:
      run: the run that `wandb.init(...)` returns.
      learning_rate: see `Logger`.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> class Run:  # in place of wandb.init(project="first")
      ...     def log(self, values, step):
      ...         print(step, sorted(values))
      >>> model, xs = jaxrnn.chain(jaxrnn.gru(1, 4), jaxrnn.dense(4, 1)), jax.numpy.ones((5, 8, 1))
      >>> result = jaxrnn.fit(
      ...     model, jaxrnn.losses.mean_squared_error, optax.adam(1e-2), {"xs": xs, "targets": xs}, steps=20, block=10,
      ...     batch_size=4, key=jax.random.key(0), callback=jaxrnn.training.WandbLogger(Run()), progress=False,
      ... )
      10 ['gradient_norm', 'loss', 'seconds']
      20 ['gradient_norm', 'loss', 'seconds']
    """

    def __init__(self, run: WandbRun, learning_rate: Schedule | None = None) -> None:
        super().__init__(learning_rate)
        if not callable(getattr(run, "log", None)):
            raise TypeError(f"run: expected what wandb.init(...) returns, got {checks.short(run)}")
        self.run: WandbRun = run

    def write(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)


class Watchers:
    """The callbacks of a run."""

    def __init__(self, callbacks: Sequence[Callable[[Any], Any]], step: int) -> None:
        self._callbacks = [*callbacks]
        for callback in callbacks:
            if isinstance(callback, Logger):
                self._tried(callback, lambda callback=callback: callback.begin(step))

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def see(self, end: Any) -> bool:
        """Shows the end of a block to each callback; returns True if one of them ends the run."""
        answers = []
        for callback in [*self._callbacks]:
            if isinstance(callback, Logger):
                self._tried(callback, lambda callback=callback: callback(end))
            else:
                answers.append(bool(callback(end)))
        return any(answers)

    def close(self) -> None:
        """Closes the loggers."""
        for callback in [*self._callbacks]:
            if isinstance(callback, Logger):
                self._tried(callback, callback.close)

    def _tried(self, logger: Logger, f: Callable[[], None]) -> None:
        try:
            f()
        except Exception as error:
            self._callbacks.remove(logger)
            with contextlib.suppress(Exception):
                logger.close()
            what = f"{type(error).__name__}: {error}"
            warnings.warn(f"callback: {type(logger).__name__} failed and is left out: {what}", stacklevel=4)


def checked_callbacks(callback: Any) -> tuple[Callback, ...]:
    """The argument `callback`, checked: a function, several, or None."""
    if callback is None:
        return ()
    several = callback if isinstance(callback, (list, tuple)) else (callback,)
    for f in several:
        checks.function("callback", f, "end")
    return tuple(several)
