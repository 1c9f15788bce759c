"""Jobs of independent tasks, for checkpoints and fleets of them that one process cannot handle.

A job is a plan, and a task is one output file.

>>> from tfckpt import jobs
>>> plan = jobs.plan_export("s3://bucket/model.ckpt-7", "s3://bucket/out/")  # doctest: +SKIP
>>> jobs.run(plan)  # doctest: +SKIP
>>> jobs.finish(plan)  # doctest: +SKIP

Plans and records are plain data without credentials.
"""

from __future__ import annotations

from .candidates import Candidate
from .finishing import Finished, finish
from .plan import Estimate, Plan, SourceFile, Task, TaskTensor, read_plan
from .planning import SHARD_BYTES, plan_export
from .records import Record
from .running import Executor, JobReport, WorkerLostError, run
from .scanning import Row, ScanPlan, plan_scan, run_scan
from .tasks import Result, run_task
from .verifying import VerifyPlan, plan_verify, run_verify

__all__ = [
    "SHARD_BYTES",
    "Candidate",
    "Estimate",
    "Executor",
    "Finished",
    "JobReport",
    "Plan",
    "Record",
    "Result",
    "Row",
    "ScanPlan",
    "SourceFile",
    "Task",
    "TaskTensor",
    "VerifyPlan",
    "WorkerLostError",
    "finish",
    "plan_export",
    "plan_scan",
    "plan_verify",
    "read_plan",
    "run",
    "run_scan",
    "run_task",
    "run_verify",
]
