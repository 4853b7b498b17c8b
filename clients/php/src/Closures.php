<?php

/**
 * Closures as jobs, where laravel/serializable-closure is there and the application has named a key.
 *
 * A closure that has left the process comes back by `unserialize`, which runs whatever its bytes say. So they are
 * signed with a key that the application names in its bootstrap (`Closures::useKey`), on the page and in the job alike,
 * never with anything that a job brings along; and nothing is unserialized before the signature is found right, in the
 * job's own process.
 */

declare(strict_types=1);

namespace Sidecar;

use Closure;
use InvalidArgumentException;

final class Closures
{
    /** What a job calls that is a closure. */
    public const CALL = self::class . '::run';

    private const LIBRARY = 'Laravel\SerializableClosure\SerializableClosure';
    private const SIGNATURE = 32; // bytes
    private const SHORTEST = 16;

    private static ?string $key = null;

    /** Sign closures with this key: a secret of the application, the same on its pages and in its jobs. */
    public static function useKey(string $key): void
    {
        if (strlen($key) < self::SHORTEST) {
            throw new InvalidArgumentException('cannot sign closures: the key is short, give 16 bytes or more');
        }
        self::$key = $key;
    }

    /** Say why closures cannot be jobs here; null: they can. */
    public static function whyNot(): ?string
    {
        return match (true) {
            !class_exists(self::LIBRARY) => 'laravel/serializable-closure is not installed',
            self::$key === null => 'no key signs it (Sidecar\Closures::useKey, in the bootstrap)',
            default => null,
        };
    }

    /** Return a closure with what it has captured, signed. */
    public static function pack(Closure $closure): string
    {
        $library = self::LIBRARY;
        $packed = serialize(new $library($closure));
        return self::sign($packed) . $packed;
    }

    /** Run a packed closure; what a job calls. */
    public static function run(string $signed, mixed ...$args): mixed
    {
        $why = self::whyNot();
        if ($why !== null) {
            throw new \RuntimeException("cannot run a closure: {$why}");
        }
        $packed = substr($signed, self::SIGNATURE);
        if (!hash_equals(self::sign($packed), substr($signed, 0, self::SIGNATURE))) {
            throw new \RuntimeException('cannot run a closure: another key has signed it, is the bootstrap the same?');
        }
        return unserialize($packed)->getClosure()(...$args);
    }

    private static function sign(string $packed): string
    {
        return hash_hmac('sha256', $packed, (string) self::$key, true);
    }
}
