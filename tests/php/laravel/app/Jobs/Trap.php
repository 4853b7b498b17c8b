<?php

declare(strict_types=1);

namespace App\Jobs;

/** Shows that it was unserialized. */
final class Trap
{
    public function __wakeup()
    {
        touch(getcwd() . '/trapped');
    }

    public function handle(): void
    {
    }
}
