<?php

/**
 * The job's deadline as an exception in its own code, so that the framework hears of it: its failed jobs, its failure
 * transport. SIGTERM comes then, and SIGKILL when the job's grace (5 s) is over; PHP without pcntl just ends.
 *
 * Code that catches every Throwable catches this one too, once: nothing is thrown a second time.
 */

declare(strict_types=1);

namespace Sidecar\Bridge;

final class Deadline extends \RuntimeException
{
    private const MARGIN = 1.0; // seconds: SIGTERM before that is not for the deadline, but a cancel or a shutdown

    /** Have the deadline of this job's process thrown where it stands then. */
    public static function watch(): void
    {
        $ends = (float) getenv('SIDECAR_DEADLINE');
        if ($ends === 0.0 || !function_exists('pcntl_async_signals') || !function_exists('posix_kill')) {
            return;
        }
        pcntl_async_signals(true);
        pcntl_signal(SIGTERM, static function () use ($ends): void {
            pcntl_signal(SIGTERM, SIG_DFL);
            if (microtime(true) >= $ends - self::MARGIN) {
                throw new self('the job did not end in time');
            }
            posix_kill((int) getmypid(), SIGTERM);
        });
    }
}
