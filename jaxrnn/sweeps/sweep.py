"""Many training runs in few programs."""

import contextlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxrnn import checks
from jaxrnn.sweeps.planning import AnyTask, make_plan
from jaxrnn.sweeps.processes import check_same, share
from jaxrnn.sweeps.program import first_bad
from jaxrnn.sweeps.pruning import Halving, survivors
from jaxrnn.sweeps.record import Record
from jaxrnn.sweeps.results import Results
from jaxrnn.sweeps.runner import Part
from jaxrnn.sweeps.strategy import choose_size
from jaxrnn.sweeps.task import ModelTask, Task
from jaxrnn.sweeps.watching import SweepCallback, checked, watchers
from jaxrnn.training.checkpoint import Resume
from jaxrnn.training.interrupts import Interrupts
from jaxrnn.training.values import not_finite


def sweep(
    task: AnyTask,
    space: Any,
    *,
    key: jax.Array,
    steps: int | None = None,
    data: Any = None,
    block: int = 100,
    strategy: str | int = "auto",
    memory: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
    pruning: Halving | None = None,
    callback: SweepCallback | Sequence[SweepCallback] | None = None,
    run_dir: checks.PathLike | None = None,
    resume: Resume = "same",
    progress: bool = True,
) -> Results:
    """Trains all members of a space.

    Floating-point hyperparameters are traced: members that differ only in these run together through one compiled
    program. Each combination of the other ones (integers, strings, functions) compiles once. A member whose loss or
    gradient is not finite stops at that step and is never the best; other members are not affected.

    Args:
      task: a task of `jaxrnn.task`; a `jaxrnn.sweeps.Task`, for a training loop of your own; or a plain function
        train(hyper, key, data) -> metrics, a dict of scalars with at least "loss", without pruning and run_dir.
      space: a space of `jaxrnn.grid`, `jaxrnn.sweeps.zipped`, `jaxrnn.sweeps.random` or `jaxrnn.sweeps.table`, or a
        list of dicts.
      key: all members have this key, so that they start from the same parameters and read the same minibatches; with a
        hyperparameter "seed", an integer from 0 to 2**32 - 1, a member has `jax.random.fold_in(key, seed)`.
      steps: the steps that each member takes; not for a plain function.
      data: the data for a plain function.
      block: steps in one compiled call; validation follows each.
      strategy: "vmap": all members of a program at once; "loop": one after the other; "map": as many at once as fit
        into `memory`; "auto": measures a few steps of some sizes and takes the fastest, if the sweep is long enough to
        win back the time that the additional programs take to compile (`Results.notes` gives the reason); a number:
        this many at once, for instance the number that "auto" found.
      memory: bytes that a program may take on a device; None: most of the available memory.
      mesh: a `jax.sharding.Mesh` of one axis, over whose devices the members are spread; None: one device. With several
        processes (after `jax.distributed.initialize`) all make the same call: each runs its share of the members on its
        own devices, and all return all results. If a process stops, the others raise an error.
      pruning: `jaxrnn.sweeps.halving(...)`, or None: all members take all steps.
      callback: a function, or several, called with a `jaxrnn.sweeps.SweepBlock` after each block of members that run
        together. A true return value ends the sweep: it returns the results so far. Without validation, members that
        had not finished are ranked by the training data of their last block. Not with several processes.
      run_dir: a directory. The sweep is saved there every half minute. A second call with the same arguments continues
        from the last save; members that were finished then do not run again. Ctrl-C and SIGTERM save the sweep at the
        end of the block (a second Ctrl-C does not wait). Saves are kept and checked as by `jaxrnn.fit`. With several
        processes all must see the directory; the sweep is then saved when members that run together reach the end of a
        rung. With one process, `metrics.csv` and `metrics.jsonl` in it have a row for each member and block.
      resume: "same": if the sweep in run_dir differs, an error says so; "anyway": it continues, with a warning.
        Compared are all arguments except `strategy`, `memory`, `mesh`, `callback` and `progress`, functions in the same
        way as by `fit`.
      progress: show a progress bar.

    Returns:
      A Results.

    Raises:
      ValueError, TypeError: an argument or a member does not fit; the message names it. Raised before anything is
        compiled.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> def build(hyper):
      ...     model = jaxrnn.chain(jaxrnn.gru(1, 8), jaxrnn.dense(8, 1))
      ...     return model, jaxrnn.losses.mean_squared_error, optax.adam(hyper.lr)
      >>> xs = jax.random.normal(jax.random.key(0), (5, 32, 1))
      >>> task = jaxrnn.task(build, {"xs": xs, "targets": xs.cumsum(0)}, batch_size=8)
      >>> space = jaxrnn.grid(lr=[1e-2, 1e-5])
      >>> results = jaxrnn.sweep(task, space, key=jax.random.key(1), steps=50, strategy="vmap", progress=False)
      >>> results.members[results.best], results.compiles
      ({'lr': 0.01}, 1)
    """
    checks.flag("progress", progress)
    checks.one_of("resume", resume, ("same", "anyway"))
    checked(callback)
    if run_dir is not None and not isinstance(task, (ModelTask, Task)):
        raise ValueError(
            f"run_dir: expected None with a plain function, got {run_dir!r}; see jaxrnn.task and jaxrnn.sweeps.Task"
        )
    members, steps, block, rungs, runners, memory = what = make_plan(
        task, space, key, steps, data, block, strategy, memory, mesh, pruning
    )
    check_same("sweep's arguments", (members, steps, block, rungs, jax.random.key_data(key).tolist()))
    notes, sizes = [], {}
    hidden = not progress or jax.process_index() > 0
    with contextlib.ExitStack() as stack:
        record = stack.enter_context(Record(steps, members, key, runners, run_dir, block, rungs, task, resume))
        alone = run_dir is not None and jax.process_count() == 1
        interrupts = stack.enter_context(Interrupts(active=alone, waits=True))
        stack.enter_context(record.kept(interrupts))
        bar = stack.enter_context(
            tqdm(total=what.member_steps, initial=int(record.taken.sum()), unit="member-step", disable=hidden)
        )

        def train() -> Iterator[tuple[int, Part]]:
            """Trains all members; yields after each block of those that run together."""
            for number, (end, count) in enumerate(rungs):
                alive = np.arange(len(members)) if number == 0 else survivors(record.scores_at(number - 1), count)
                record.rung[alive] = number
                for index, runner in enumerate(runners):
                    mine = np.flatnonzero(np.isin(runner.group.members, alive))
                    taken = record.taken[runner.group.members]
                    pending = mine[taken[mine] < end]
                    if not len(pending):
                        record.finish(index, first_bad(runner.states))
                        continue
                    if index not in sizes:
                        bar.set_description("compiling")
                        sizes[index], why = choose_size(runner, strategy, memory, end)
                        notes.append(f"{runner.group.static or 'all members'}: {why}")
                        bar.set_description("training")
                        bar.unpause()  # its rate is that of training, without compiling
                    mine = share(pending)
                    for start, places in itertools.groupby(
                        sorted(mine, key=lambda p: taken[p]), key=lambda p: taken[p]
                    ):
                        for part in runner.run(np.asarray(list(places)), sizes[index], int(start), end, block):
                            record.extend(index, part)
                            bar.set_postfix(best=f"{record.best_score():.4g}", refresh=False)
                            bar.update(len(part.places) * (part.end - part.start))
                            yield index, part
                            record.save_if_due()
                            interrupts.leave()
                    record.exchange(index, mine)
                    bar.update(int(record.taken.sum()) - bar.n)
                    record.finish(index, first_bad(runner.states))
                record.close_rung(number, end, alive)

        observers = watchers(callback, record.folder if alone else None, record.taken)
        stack.callback(observers.close)
        ended = None
        for index, part in train():
            if observers and record.show(observers, index, part, tuple(notes), task):
                part.store(None)
                notes.append(f"callback: ended the sweep after {int(record.taken.sum())} steps of all members")
                ended = [runner.states for runner in runners]
                break
        record.save("; the result is returned, and is nowhere on disk")
        interrupts.leave()
        results = record.results(tuple(notes), task, ended)
    begun = results.columns["steps"] > 0
    if results.diverged[begun].all():
        steps_ = results.columns["first_bad"]
        when = f", the first at step {steps_[steps_ > 0].min()}" if steps_.any() else ""
        why = not_finite("data", task.data) if isinstance(task, ModelTask) else ""
        warnings.warn(
            f"sweep: a loss or gradient was not finite in all {begun.sum()} members{when}{why and f'; {why}'}",
            stacklevel=2,
        )
    return results
