<?php

declare(strict_types=1);

namespace Sidecar\Bridge\Laravel;

use Illuminate\Contracts\Container\Container;
use Illuminate\Contracts\Queue\Job as JobContract;
use Illuminate\Queue\Jobs\Job;
use Illuminate\Queue\ManuallyFailedException;
use Throwable;

/**
 * What Laravel sees of the job that this process is. What it decides about the job, Runner tells the daemon.
 */
final class SidecarJob extends Job implements JobContract
{
    /** Seconds to wait, of the last release; null: it was not released. */
    public ?int $pause = null;
    public ?Throwable $failure = null;

    public function __construct(
        Container $container,
        private readonly string $body,
        string $connectionName,
        string $queue,
    ) {
        $this->container = $container;
        $this->connectionName = $connectionName;
        $this->queue = $queue;
    }

    public function getJobId()
    {
        return (string) getenv('SIDECAR_JOB_ID');
    }

    public function getRawBody()
    {
        return $this->body;
    }

    /** Count the starts, this one included; as everywhere in Laravel, one that was cut off is one. */
    public function attempts()
    {
        return max(1, (int) getenv('SIDECAR_ATTEMPT'));
    }

    /** Return 0, Laravel's word for no limit: the daemon counts, and a start that was cut off uses up no try. */
    public function maxTries()
    {
        return 0;
    }

    public function release($delay = 0)
    {
        parent::release($delay);
        $this->pause = max(0, $this->secondsUntil($delay));
    }

    public function fail($e = null)
    {
        $this->failure = $e ?? new ManuallyFailedException();
        parent::fail($e);
    }
}
