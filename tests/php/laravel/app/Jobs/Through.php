<?php

declare(strict_types=1);

namespace App\Jobs;

/**
 * A middleware of jobs.
 */
final class Through
{
    public function handle(Step $job, callable $next): void
    {
        $job->write('through the middleware');
        $next($job);
    }
}
