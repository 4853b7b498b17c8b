<?php

declare(strict_types=1);

namespace Sidecar;

/** The clock that deadlines are on: nobody sets it. */
final class Clock
{
    /** Return its seconds. */
    public static function now(): float
    {
        return hrtime(true) / 1e9;
    }
}
