"""Have the head do a run: submit the command, repeat its log, end with its exit code.

submit_run.py python /app/jobs/score_dataset.py --config=/etc/lakescore/score.yaml ...

`ray job submit` would not do: it calls a stopped job a success, as it does one whose log broke off while it went on,
and every failure is its 1. A second start while the first still runs follows that one, and starts none.

Exit codes: score_dataset.py's but 4, which is waited for, since then somebody else does this run; 1 also when the head
is lost or does not answer; 143 when the job was stopped, or this was, which stops the job.
"""

import asyncio
import os
import re
import shlex
import signal
import sys
import time
from datetime import UTC, datetime

from aiohttp import ClientError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

HEAD_COMES_BACK = 900.0  # seconds: a new node, and the image on it
OTHER_PROCESS, STOPPED = 4, 143  # exit codes
STOPS_WITHIN = 45.0  # seconds: what the head gives a job to end by itself, and some more
LOG_SECONDS = 600.0  # of one connection to a log: a node that vanishes does not close it
MINUTES_OF_2020 = 26_297_280

patiently = retry(
    retry=retry_if_exception_type((OSError, RuntimeError)),  # it cannot be reached; it answers, but is not ready
    wait=wait_fixed(2),
    stop=stop_after_delay(HEAD_COMES_BACK),
    reraise=True,
)


def run_id(job: str) -> str:
    """Return the UTC date that a CronJob's Job was scheduled for, or the name of a Job that somebody made.

    Kubernetes ends the names of the former in the minutes since 1970; people end theirs in dates, which are fewer.
    """
    scheduled = re.fullmatch(r".+-(\d{8})", job)
    if scheduled is None or int(scheduled[1]) < MINUTES_OF_2020:
        return job
    return f"{datetime.fromtimestamp(60 * int(scheduled[1]), UTC):%Y-%m-%d}"


def main(job: str, command: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
    run = run_id(job)
    client = connect()
    while True:
        submission = submit(client, run, [*command, f"--output.run_id={run}"])
        try:
            code = follow(client, submission)
        except SystemExit:
            stop(client, submission)
            raise
        if code != OTHER_PROCESS:
            return code
        time.sleep(60)


@patiently
def connect() -> JobSubmissionClient:
    return JobSubmissionClient()  # at RAY_API_SERVER_ADDRESS


@patiently
def submit(client: JobSubmissionClient, run: str, command: list[str]) -> str:
    """Return the id of the job that does the run, a new one if none does."""
    mine = [known for known in client.list_jobs() if (known.submission_id or "").startswith(f"{run}.")]
    for known in mine:
        if known.submission_id and not known.status.is_terminal():
            return known.submission_id
    return client.submit_job(entrypoint=shlex.join(command), submission_id=f"{run}.{len(mine) + 1}")


def follow(client: JobSubmissionClient, submission: str) -> int:
    """Repeat the job's log until it ends, across connections that break; return its exit code."""
    log = Log(client, submission)
    while True:
        try:
            asyncio.run(asyncio.wait_for(log.repeat(), LOG_SECONDS))
        except TimeoutError:
            pass  # it goes on, as far as anybody knows: look, and read on
        except (OSError, RuntimeError, ClientError) as error:
            print(f"the log broke off: {error}", file=sys.stderr)
        details = look(client, submission)
        if details is None:
            print(f"the head knows no job {submission}: it was replaced, the job is lost", file=sys.stderr)
            return 1
        if details.status.is_terminal():
            log.finish()
            print(f"job {submission}: {details.status}, {details.message}"[:500], file=sys.stderr)
            return exit_code(details)
        time.sleep(2)


def stop(client: JobSubmissionClient, submission: str) -> None:
    """Stop a job and wait until it has: a pod that takes this one's place must not take it for one that goes on."""
    client.stop_job(submission)
    deadline = time.monotonic() + STOPS_WITHIN
    while not client.get_job_status(submission).is_terminal() and time.monotonic() < deadline:
        time.sleep(1)


@patiently
def look(client: JobSubmissionClient, submission: str) -> JobDetails | None:
    return next((known for known in client.list_jobs() if known.submission_id == submission), None)


def exit_code(job: JobDetails) -> int:
    """Return what a job that ended makes of this process."""
    if job.status == JobStatus.SUCCEEDED:
        return 0
    if job.status == JobStatus.STOPPED:
        return STOPPED
    code = job.driver_exit_code or 1  # none where the head could not even start it
    return code if 0 < code < 256 else 1  # below 0: killed by a signal


class Log:
    """A job's log, of which every character is repeated once, however often it is read."""

    def __init__(self, client: JobSubmissionClient, submission: str) -> None:
        self.client, self.submission, self.shown = client, submission, 0

    async def repeat(self) -> None:
        """Print what the job writes, until it ends or the connection breaks."""
        at = 0
        async for text in self.client.tail_job_logs(self.submission):
            print(text[max(0, self.shown - at) :], end="", flush=True)
            at += len(text)
            self.shown = max(self.shown, at)

    @patiently
    def finish(self) -> None:
        print(self.client.get_job_logs(self.submission)[self.shown :], end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(os.environ["JOB_NAME"], sys.argv[1:]))
