<?php

/**
 * What may be said about a job besides its target: every option checked, and turned into wire values.
 *
 * Names and units are those of the Python client and of PROTOCOL.md: seconds are int or float, instants are Unix
 * seconds or a DateTimeInterface. One row an option; an option without a row is an error, never ignored.
 */

declare(strict_types=1);

namespace Sidecar;

use DateTimeInterface;
use InvalidArgumentException;

final class Terms
{
    public const ACKS = ['sent', 'stored', 'synced'];
    public const POLICIES = ['spool', 'throw', 'drop', 'inline'];
    public const DEADLINE = 0.25; // seconds for the whole hand-off
    /** Those that are not copied to the wire as they are. */
    public const LOCAL = [
        'ack' => 1, 'on_unavailable' => 1, 'deadline' => 1, 'runtime' => 1, 'delay' => 1, 'expires' => 1,
    ];

    private const YEAR = 366 * 86400.0;
    private const KNOWN = [
        'timeout', 'grace', 'queue', 'priority', 'retries', 'at_most_once', 'backoff', 'delay', 'run_at', 'expires',
        'stdin', 'env', 'cwd', 'ack', 'on_unavailable', 'deadline', 'runtime',
    ];
    private const OF_CLIENT = ['runtimeDir', 'php', 'bootstrap'];

    /**
     * Return the options that are set (null is not given), checked, in wire form.
     *
     * @param array<int|string, mixed> $given
     * @return array<string, mixed>
     * @throws InvalidArgumentException naming the option and what it should be
     */
    public static function check(array $given): array
    {
        $checked = [];
        foreach ($given as $name => $value) {
            if (!in_array($name, self::KNOWN, true)) {
                $shown = is_int($name) ? 'a further argument' : "option {$name}";
                $known = in_array($name, self::OF_CLIENT, true)
                    ? "that is said once, new Client({$name}: …)"
                    : 'known are ' . implode(', ', self::KNOWN);
                throw new InvalidArgumentException("cannot use {$shown}: {$known}");
            }
            if ($value !== null) {
                $checked[$name] = self::row($name, $value);
            }
        }
        return self::refuseTwice($checked);
    }

    /**
     * Put options on top of others; of `delay` and `run_at`, one thing said twice, the last holds.
     *
     * @param array<string, mixed> $base
     * @param array<string, mixed> $top
     * @return array<string, mixed>
     */
    public static function merge(array $base, array $top): array
    {
        if (isset($top['delay'])) {
            unset($base['run_at']);
        }
        if (isset($top['run_at'])) {
            unset($base['delay']);
        }
        return self::refuseTwice([...$base, ...$top]);
    }

    /** Return the ack of jobs that ask for none: SIDECAR_ACK, else "sent". */
    public static function defaultAck(): string
    {
        $named = getenv('SIDECAR_ACK');
        return self::oneOf('SIDECAR_ACK', is_string($named) && $named !== '' ? $named : 'sent', self::ACKS);
    }

    private static function row(string $name, mixed $value): mixed
    {
        return match ($name) {
            'timeout' => self::seconds($name, $value, 0.001, self::YEAR),
            'grace' => self::seconds($name, $value, 0, 3600),
            'deadline' => self::seconds($name, $value, 0, 3600),
            'delay' => self::seconds($name, $value, 0, 10 * self::YEAR),
            'run_at' => self::instant($name, $value),
            'expires' => $value instanceof DateTimeInterface
                ? ['at', self::instant($name, $value)]
                : ['in', self::seconds($name, $value, 0, 10 * self::YEAR)],
            'priority' => self::whole($name, $value, -100, 100),
            'retries' => self::whole($name, $value, 0, 1000),
            'at_most_once' => is_bool($value) ? $value : throw self::wrong($name, $value, 'true or false'),
            'queue' => self::queue($name, $value),
            'backoff' => self::backoff($name, $value),
            'stdin' => is_string($value) ? new Bytes($value) : throw self::wrong($name, $value, 'a string'),
            'env' => self::env($value),
            'cwd' => self::folder($name, $value),
            'ack' => self::oneOf($name, $value, self::ACKS),
            'on_unavailable' => self::oneOf($name, $value, self::POLICIES),
            'runtime' => is_array($value) ? $value : throw self::wrong($name, $value, 'an array as PROTOCOL.md has it'),
        };
    }

    private static function seconds(string $name, mixed $value, float $low, float $high): float
    {
        if ((!is_int($value) && !is_float($value)) || !($value >= $low && $value <= $high)) {
            throw self::wrong($name, $value, "seconds from {$low} to {$high}");
        }
        return (float) $value;
    }

    private static function instant(string $name, mixed $value): float
    {
        if ($value instanceof DateTimeInterface) {
            $value = (float) $value->format('U.u');
        }
        if ((!is_int($value) && !is_float($value)) || !($value >= 0 && $value <= 1e11)) {
            throw self::wrong($name, $value, 'a DateTimeInterface, or Unix seconds');
        }
        return (float) $value;
    }

    private static function whole(string $name, mixed $value, int $low, int $high): int
    {
        if (!is_int($value) || $value < $low || $value > $high) {
            throw self::wrong($name, $value, "a whole number from {$low} to {$high}");
        }
        return $value;
    }

    /** @param list<string> $words */
    private static function oneOf(string $name, mixed $value, array $words): string
    {
        if (!in_array($value, $words, true)) {
            throw self::wrong($name, $value, implode(' or ', $words));
        }
        return $value;
    }

    private static function queue(string $name, mixed $value): string
    {
        if (!is_string($value) || preg_match('/^[A-Za-z0-9_.-]{1,64}\z/', $value) !== 1) {
            throw self::wrong($name, $value, "1 to 64 letters, digits, '_', '-' or '.'");
        }
        return $value;
    }

    private static function backoff(string $name, mixed $value): mixed
    {
        $wanted = 'a list of delays, or an array with base and cap, in seconds';
        $isMap = is_array($value) && !array_is_list($value);
        if (!is_array($value) || $value === [] || ($isMap && array_diff_key($value, ['base' => 1, 'cap' => 1]))) {
            throw self::wrong($name, $value, $wanted);
        }
        return array_map(static fn (mixed $item): float => self::seconds($name, $item, 0, self::YEAR), $value);
    }

    private static function env(mixed $value): Map
    {
        if (!is_array($value)) {
            throw self::wrong('env', $value, 'an array of texts');
        }
        foreach ($value as $key => $item) {
            if (!is_string($item)) {
                throw self::wrong("env[{$key}]", $item, 'a text: (string) of it');
            }
            if ((string) $key === '' || strpbrk((string) $key, "=\0") !== false || str_contains($item, "\0")) {
                throw self::wrong("env[{$key}]", $item, "names without '=', and nothing with NUL");
            }
        }
        return new Map($value);
    }

    private static function folder(string $name, mixed $value): string
    {
        if (!is_string($value) || !str_starts_with($value, '/') || str_contains($value, "\0")) {
            throw self::wrong($name, $value, 'an absolute path: realpath(…) of it');
        }
        return $value;
    }

    /**
     * @param array<string, mixed> $checked
     * @return array<string, mixed>
     */
    private static function refuseTwice(array $checked): array
    {
        if (isset($checked['delay'], $checked['run_at'])) {
            throw new InvalidArgumentException('cannot use options: give delay or run_at, not both');
        }
        if ($checked['at_most_once'] ?? false) {
            if ($checked['retries'] ?? 0) {
                throw new InvalidArgumentException(
                    'cannot use options: retries would start it again, which at_most_once forbids'
                );
            }
            if (($checked['on_unavailable'] ?? '') === 'inline') {
                // A daemon that did not answer in time may have the job all the same.
                throw new InvalidArgumentException(
                    'cannot use options: run inline, it might run twice, which at_most_once forbids'
                );
            }
        }
        return $checked;
    }

    private static function wrong(string $name, mixed $value, string $wanted): InvalidArgumentException
    {
        $shown = is_scalar($value) ? var_export($value, true) : get_debug_type($value);
        $shown = strlen($shown) > 80 ? substr($shown, 0, 77) . '...' : $shown;
        return new InvalidArgumentException("cannot use option {$name}: it is {$shown}, give {$wanted}");
    }
}
