<?php

/**
 * What a tick does not promise on this host, because PHP may not do it there. The README's table has the same lines.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Sidecar\Silence;

final class Lost
{
    /** By what is missing; each entry is one guarantee that goes with it. */
    public const WITHOUT = [
        'proc_open' => [
            'no process of its own: calls run in the tick, one by one, amid what those before left in memory',
            'the timeout counts what PHP itself computes: a call that waits for ever keeps all waiting; no grace',
            'what a call has started goes on after its end',
            'a fatal error, a timeout and exit() end the tick with the job: that is recorded, the others wait',
            'exit(3) counts as success, as exit() does: PHP does not tell the status',
            'commands are not run: they wait for a tick that has proc_open',
            'the bootstrap runs once for all jobs of a tick, and not in the global scope, which WordPress needs',
            'stdin is empty, and the PHP is that of the tick',
        ],
        'set_time_limit' => ['without proc_open a call has no deadline at all'],
        'pcntl_signal' => [
            'SIGTERM ends the tick as SIGKILL does: what runs was interrupted by a crash, and is lost the third time',
        ],
        'setsid' => ['SIGTERM at the timeout reaches only the first process of a job; SIGKILL still ends all of them'],
        '/proc' => [
            'what a job leaves behind in a session of its own is not ended; while that runs the job is not tried again',
        ],
    ];

    public static function canProcesses(): bool
    {
        return function_exists('proc_open') && function_exists('proc_get_status');
    }

    /** @return list<string> the parts of `WITHOUT` that are missing here */
    public static function here(): array
    {
        Silence::begin(); // open_basedir may forbid the look
        $has = [
            'proc_open' => self::canProcesses(),
            'set_time_limit' => self::canProcesses() || function_exists('set_time_limit'),
            'pcntl_signal' => function_exists('pcntl_signal') && function_exists('pcntl_async_signals'),
            'setsid' => !self::canProcesses() || Signals::setsid() !== null,
            '/proc' => !self::canProcesses() || is_readable('/proc/self/environ'),
        ];
        Silence::end();
        return array_keys($has, false, true);
    }

    /** @return list<string> what a tick says on its start */
    public static function lines(): array
    {
        $lines = [];
        foreach (self::here() as $missing) {
            foreach (self::WITHOUT[$missing] as $guarantee) {
                $lines[] = "without {$missing}: {$guarantee}";
            }
        }
        return $lines;
    }
}
