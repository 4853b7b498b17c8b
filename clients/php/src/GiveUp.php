<?php

declare(strict_types=1);

namespace Sidecar;

use Throwable;

/**
 * Thrown by a job that need not be tried again, however many tries it has left: `throw new GiveUp('no such address')`,
 * or `throw new GiveUp(previous: $error)`; then the job's error is that one.
 */
final class GiveUp extends \RuntimeException
{
    public function __construct(string $message = '', ?Throwable $previous = null)
    {
        parent::__construct($message, 0, $previous);
    }
}
