<?php

declare(strict_types=1);

namespace App\Message;

/** Shows that it was unserialized. */
final class Trap
{
    public function __wakeup()
    {
        touch(getcwd() . '/trapped');
    }
}
