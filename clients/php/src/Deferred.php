<?php

/**
 * Work for this process, after the response: closures too, since nothing leaves the process. The worker of the web
 * server is busy meanwhile; what takes long belongs to the daemon (`Client::submit`).
 *
 *     Deferred::add(fn () => $cache->warm($page));
 *
 * It runs when the script is over, before the shutdown functions that are registered later than the first `add`. What
 * one of them throws does not keep the others from running: it is written to PHP's error log (an exception out of a
 * shutdown function would keep all later ones from running), and thrown by `run` where that was called by hand.
 */

declare(strict_types=1);

namespace Sidecar;

use Throwable;

final class Deferred
{
    /** @var list<callable(): mixed> */
    private static array $waiting = [];
    private static bool $registered = false;

    /** Have something run after the response. */
    public static function add(callable $work): void
    {
        self::$waiting[] = $work;
        if (!self::$registered) {
            self::$registered = true;
            register_shutdown_function(self::atEnd(...));
        }
    }

    /** End the response and run what waits, now rather than when the script is over. Throws what was thrown first. */
    public static function run(): void
    {
        $thrown = self::runAll();
        if ($thrown !== []) {
            throw $thrown[0];
        }
    }

    private static function atEnd(): void
    {
        foreach (self::runAll() as $error) {
            error_log("deferred work failed: {$error}");
        }
    }

    /** @return list<Throwable> */
    private static function runAll(): array
    {
        $thrown = [];
        self::$waiting !== [] && Response::finish();
        while (($work = array_shift(self::$waiting)) !== null) { // what is added meanwhile runs too
            try {
                $work();
            } catch (Throwable $error) {
                $thrown[] = $error;
            }
        }
        return $thrown;
    }
}
