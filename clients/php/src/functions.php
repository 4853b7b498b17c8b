<?php

declare(strict_types=1);

namespace Sidecar;

// Both autoload.php and Composer's autoloader load this file, and a job's process has both.
if (!function_exists('Sidecar\submit')) {
    /**
     * Hand over a call to the daemon of this machine: `Sidecar\submit('Acme\Mail::send', [42], timeout: 30)`.
     *
     * @param array<int|string, mixed> $args
     */
    function submit(string|\Closure|array $call, array $args = [], mixed ...$options): Job
    {
        static $client = new Client();
        return $client->submit($call, $args, ...$options);
    }
}
