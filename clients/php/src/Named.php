<?php

/** A task of the daemon's configuration, by its name: what it runs is said there, and here only with what and when. */

declare(strict_types=1);

namespace Sidecar;

use InvalidArgumentException;

final class Named
{
    private const OPTIONS = [
        'delay' => 1, 'run_at' => 1, 'expires' => 1, 'ack' => 1, 'on_unavailable' => 1, 'deadline' => 1,
    ];

    public function __construct(public readonly string $name)
    {
    }

    /**
     * @param array<string, mixed> $options checked
     * @throws InvalidArgumentException naming an option that only the configuration may set
     */
    public function check(array $options): void
    {
        foreach (array_keys(array_diff_key($options, self::OPTIONS)) as $name) {
            throw new InvalidArgumentException(
                "cannot submit task {$this->name} with {$name}: that is said in its configuration, here only "
                . implode(', ', array_keys(self::OPTIONS))
            );
        }
        if (($options['on_unavailable'] ?? '') === 'inline') {
            throw new InvalidArgumentException(
                "cannot submit task {$this->name}: only the daemon knows what it runs, give another on_unavailable"
            );
        }
    }

    /**
     * Pack what a task is given.
     *
     * @param array<int|string, mixed> $payload
     * @throws InvalidArgumentException naming what is neither a list nor a map of texts
     */
    public static function payload(array $payload): string
    {
        self::checkKeys($payload, 'payload');
        return Msgpack::encode($payload, 'payload');
    }

    /** @param array<int|string, mixed> $value */
    private static function checkKeys(array $value, string $place): void
    {
        $isList = array_is_list($value);
        foreach ($value as $key => $item) {
            if (!$isList && is_int($key)) {
                throw new InvalidArgumentException(
                    "cannot submit task: {$place} has the key {$key}, give a list, or text keys"
                );
            }
            if (is_array($item)) {
                self::checkKeys($item, "{$place}[{$key}]");
            }
        }
    }
}
