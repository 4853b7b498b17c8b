<?php

declare(strict_types=1);

namespace Sidecar\Bridge\Laravel;

use Illuminate\Contracts\Container\Container;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Queue\CallQueuedHandler;
use Illuminate\Queue\Events\JobFailed;
use Illuminate\Queue\Events\JobProcessed;
use Illuminate\Queue\Events\JobProcessing;
use Illuminate\Queue\Jobs\JobName;
use Illuminate\Pipeline\Pipeline;
use Illuminate\Queue\MaxAttemptsExceededException;
use Illuminate\Queue\Worker;
use Illuminate\Queue\WorkerOptions;
use Sidecar\Bridge\Deadline;
use Sidecar\Bridge\Signature;
use Sidecar\GiveUp;
use Sidecar\TryAgain;
use Throwable;

/**
 * The job's side: one job, run by Laravel's own worker, in a process that has the application in memory and ends with
 * the job.
 *
 * Laravel decides what is Laravel's (middleware, locks, chains, batches, maxExceptions, retryUntil, the events), the
 * daemon when to try again and how often. When nothing is left to try the job is among Laravel's failed jobs.
 */
final class Runner
{
    private ?SidecarJob $job = null;

    public function __construct(private readonly Container $app)
    {
    }

    /** Load what every job needs, in the php that they are forked from: else each of them would compile it. */
    public static function load(Container $app): void
    {
        $app->make('queue.worker');
        $app->make(CallQueuedHandler::class);
        array_map(class_exists(...), [
            Pipeline::class, SidecarJob::class, WorkerOptions::class, JobProcessing::class, JobProcessed::class,
            ExceptionHandler::class, Deadline::class, JobName::class, Signature::class,
        ]);
    }

    /** Run a job of a connection of config/queue.php. */
    public function __invoke(string $connection, string $queue, string $payload, string $signature): void
    {
        $this->app->make(Signature::class)->check($payload, $signature);
        Deadline::watch();
        $this->app->make('events')->listen(JobFailed::class, $this->record(...));
        $this->job = $job = new SidecarJob($this->app, $payload, $connection, $queue);
        try {
            $this->worker()->process($connection, $job, new WorkerOptions(maxTries: 0));
        } catch (Throwable $error) {
            $this->app->make(ExceptionHandler::class)->report($error);
            if ($error instanceof Deadline && $job->shouldFailOnTimeout() && !$job->hasFailed()) {
                $job->fail($error);
            }
            throw $job->hasFailed() ? new GiveUp(previous: $error) : $error;
        }
        if ($job->hasFailed()) {
            throw new GiveUp(previous: $job->failure);
        }
        if ($job->isReleased() && !$job->isDeleted()) {
            throw new TryAgain($job->pause, "released, to be tried again in {$job->pause} s");
        }
    }

    /** Fail the job in Laravel's sense, unless it has: no try is left. */
    public function failed(Throwable $error): void
    {
        if ($this->job === null || $this->job->hasFailed()) {
            return;
        }
        $this->job->fail($error instanceof TryAgain
            ? new MaxAttemptsExceededException("{$this->job->resolveName()} has been attempted too many times.")
            : $error);
    }

    private function worker(): Worker
    {
        $worker = $this->app->make('queue.worker');
        if ($this->app->bound('cache')) {
            $worker->setCache($this->app->make('cache')->driver()); // it counts exceptions there
        }
        return $worker;
    }

    /** Do what `queue:work` does of a failed job. */
    private function record(JobFailed $event): void
    {
        $this->app->make('queue.failer')->log(
            $event->connectionName,
            $event->job->getQueue(),
            $event->job->getRawBody(),
            $event->exception,
        );
    }
}
