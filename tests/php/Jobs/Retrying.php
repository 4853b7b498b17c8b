<?php

declare(strict_types=1);

namespace Jobs;

use Sidecar\GiveUp;
use Sidecar\TryAgain;

final class Retrying
{
    /** Each is tried five times, a minute apart, unless it says otherwise. */
    public function fail(string $path, string $how, float $seconds = 0): never
    {
        file_put_contents($path, "tried\n", FILE_APPEND);
        $cause = new \RangeException('the cause');
        throw match ($how) {
            'as any' => $cause,
            'give up' => new GiveUp('no such address'),
            'give up for a cause' => new GiveUp(previous: $cause),
            'again' => new TryAgain($seconds, 'not yet'),
            'again for a cause' => new TryAgain($seconds, previous: $cause),
        };
    }

    public function failed(\Throwable $error): void
    {
        echo 'told: ', $error->getMessage();
    }
}
