<?php

declare(strict_types=1);

namespace Sidecar;

use Sidecar\Exception\JobFailed;
use Sidecar\Exception\Rejected;
use Sidecar\Exception\SidecarException;
use Sidecar\Exception\TimedOut;

/**
 * One job: its id, how far it got, and the questions one may ask about it. It holds no connection, and may be made
 * again from its id in another process: `$client->job($id)`.
 */
final class Job
{
    private const ANSWER = 10.0; // seconds for an answer that the daemon has at hand
    private const MARGIN = 1.0; // seconds after a wait's own time until the daemon counts as silent

    /** `ack` is what is known of the hand-off: sent, stored, synced, spooled, dropped, inline; null: known by its id. */
    public function __construct(
        private readonly string $bytes,
        private readonly Door $door,
        public readonly ?string $ack = null,
    ) {
    }

    /** The job's id as text is `$job->id`. */
    public function __get(string $name): string
    {
        return $name === 'id' ? Id::show($this->bytes) : throw new \Error("cannot read property {$name} of a job");
    }

    public function __isset(string $name): bool
    {
        return $name === 'id';
    }

    /** Ask where it is and how it got there. */
    public function status(): JobStatus
    {
        return JobStatus::of($this->ask('status'));
    }

    /**
     * Wait until it is done, at most `$timeout` seconds (null: for ever), through restarts of the daemon.
     *
     * @throws TimedOut when it is not done by then; the job itself goes on
     */
    public function wait(?float $timeout = null): JobStatus
    {
        $ends = $timeout === null ? null : Clock::now() + $timeout + self::MARGIN;
        $params = "\x92" . Msgpack::bin($this->bytes) . Msgpack::encode($timeout);
        $status = JobStatus::of($this->door->control()->request('wait', $params, $ends, true));
        if (!$status->done()) {
            $why = $status->waiting === null ? '' : ", since {$status->waiting}";
            throw new TimedOut("cannot wait for job {$this->id} any longer: it is {$status->state->value}{$why}");
        }
        return $status;
    }

    /**
     * Wait as `wait` does, then return what the job returned; the exit status (0) of a command.
     *
     * @throws JobFailed|TimedOut|SidecarException
     */
    public function result(?float $timeout = null): mixed
    {
        $this->wait($timeout);
        $answer = $this->ask('result');
        if ($answer['outcome'] !== Outcome::Succeeded->value) {
            throw $this->failure($answer);
        }
        if (isset($answer['result_error'])) {
            throw new Rejected('result', "cannot return the result of job {$this->id}: {$answer['result_error']}");
        }
        return isset($answer['result']) ? Msgpack::decode($answer['result']) : $answer['status'];
    }

    /** Have it end: at once where it waits, by SIGTERM and after its grace SIGKILL where it runs. */
    public function cancel(): JobStatus
    {
        return JobStatus::of($this->ask('cancel'));
    }

    /** Return the end (64 KiB) of what its newest attempt wrote to stdout and stderr. */
    public function logs(): string
    {
        return $this->ask('logs')['output'];
    }

    private function ask(string $verb): mixed
    {
        $params = "\x91" . Msgpack::bin($this->bytes);
        return $this->door->control()->request($verb, $params, Clock::now() + self::ANSWER);
    }

    /** @param array<string, mixed> $answer */
    private function failure(array $answer): JobFailed
    {
        $outcome = $answer['outcome'];
        $error = $answer['error'] ?? null;
        $why = match (true) {
            isset($error) => "{$error['type']}: {$error['message']}",
            isset($answer['signal']) => "signal {$answer['signal']}",
            $outcome === Outcome::Failed->value && isset($answer['status']) => "exit status {$answer['status']}",
            default => '',
        };
        $message = "job {$this->id} " . strtr($outcome, '_', ' ') . ($why === '' ? '' : ": {$why}");
        return new JobFailed($outcome, $error['type'] ?? null, $message, $error['traceback'] ?? null);
    }
}
