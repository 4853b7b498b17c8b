<?php

declare(strict_types=1);

namespace Sidecar;

use InvalidArgumentException;
use Throwable;

/**
 * Thrown by a job that knows better than its backoff when to be tried again: `throw new TryAgain(60)`. It uses up a
 * retry as any failure does; when none is left the job has failed.
 */
final class TryAgain extends \RuntimeException
{
    private const YEAR = 366 * 86400.0;

    public readonly float $seconds;

    /** `$seconds` are from the end of this try, 0 up to a year. With `$previous` the job's error is that one. */
    public function __construct(int|float $seconds, string $message = '', ?Throwable $previous = null)
    {
        if (!($seconds >= 0 && $seconds <= self::YEAR)) {
            throw new InvalidArgumentException("cannot try again in {$seconds} seconds: give 0 up to a year");
        }
        $this->seconds = (float) $seconds;
        parent::__construct($message === '' ? "to be tried again in {$seconds} s" : $message, 0, $previous);
    }
}
