<?php

/**
 * PHP tells of socket errors by notices and warnings. A submit must not put one on somebody's page, nor have a
 * framework's handler throw in the middle of it (an `@` does not keep every handler away): so around each such call
 * stands `Silence::begin()` … `Silence::end()`, and what was said is read from here.
 */

declare(strict_types=1);

namespace Sidecar;

use Closure;

final class Silence
{
    private static ?Closure $listener = null;
    private static string $said = '';

    /** Have notices and warnings noted rather than shown, until `end`. */
    public static function begin(): void
    {
        self::$said = '';
        set_error_handler(self::$listener ??= static function (int $level, string $message): bool {
            self::$said = $message;
            return true;
        });
    }

    public static function end(): void
    {
        restore_error_handler();
    }

    /** Return what was said since `begin`, '' for nothing. */
    public static function said(): string
    {
        return self::$said;
    }

    /** Return the errno that was named in it, 0 for none. */
    public static function errno(): int
    {
        return preg_match('/errno=(\d+)/', self::$said, $found) === 1 ? (int) $found[1] : 0;
    }
}
