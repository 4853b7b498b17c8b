<?php

/**
 * Sending signals, with posix and without: any shell can as well. And the program that gives a job a session.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Sidecar\Silence;

final class Signals
{
    private const NUMBERS = ['TERM' => 15, 'KILL' => 9];

    /**
     * Send a signal to processes; a negative number is the group of one, or it alone where it leads none yet.
     *
     * @param list<int> $pids
     */
    public static function send(string $name, array $pids): void
    {
        if ($pids === []) {
            return;
        }
        if (function_exists('posix_kill')) {
            foreach ($pids as $pid) {
                posix_kill($pid, self::NUMBERS[$name]) || posix_kill(abs($pid), self::NUMBERS[$name]);
            }
            return;
        }
        $null = ['file', '/dev/null', 'r+'];
        $script = 'for pid; do kill -s ' . $name . ' -- "$pid" || kill -s ' . $name . ' -- "${pid#-}"; done';
        $argv = ['/bin/sh', '-c', $script, 'sh', ...array_map(strval(...), $pids)];
        $shell = proc_open($argv, [$null, $null, $null], $pipes);
        $shell !== false && proc_close($shell);
    }

    /** Return the path of setsid(1); null: there is none, and jobs are in the tick's own group. */
    public static function setsid(): ?string
    {
        Silence::begin();
        $found = array_filter(['/usr/bin/setsid', '/bin/setsid'], is_executable(...));
        Silence::end();
        return $found === [] ? null : reset($found);
    }
}
