<?php

/**
 * What the bridges to frameworks share: a client out of a connection's settings, as a DSN or a config file has them.
 */

declare(strict_types=1);

namespace Sidecar\Bridge;

use InvalidArgumentException;
use Sidecar\Client;
use Sidecar\Runtime;

final class Setup
{
    private const FLOATS = ['timeout', 'grace', 'deadline', 'expires', 'delay', 'backoff'];
    private const WHOLES = ['retries', 'priority'];
    private const SWITCHES = ['at_most_once'];
    private const NOT_HERE = [
        'runtime' => 'php, bootstrap and env say what there is to say',
        'run_at' => 'a delay is each message\'s own',
        'stdin' => 'a message has none',
    ];

    /**
     * Return a client for these settings: runtime_dir, php, bootstrap, and the options of a client. The ack is "stored"
     * unless they say otherwise, so that what is wrong is an exception where the message is handed off.
     *
     * @param array<string, mixed> $settings numbers may be text, as in a DSN or an .env
     * @param string $folder where the application is, and its jobs run
     * @param array<string, string> $env what the bootstrap needs to know
     * @throws InvalidArgumentException naming the setting and what it should be
     */
    public static function client(array $settings, string $folder, array $env): Client
    {
        $settings += ['runtime_dir' => null, 'php' => null, 'bootstrap' => null, 'ack' => 'stored'];
        ['runtime_dir' => $runtimeDir, 'php' => $php, 'bootstrap' => $bootstrap] = $settings;
        unset($settings['runtime_dir'], $settings['php'], $settings['bootstrap']);
        foreach (array_intersect_key(self::NOT_HERE, $settings) as $name => $why) {
            throw new InvalidArgumentException("cannot use option {$name} here: {$why}");
        }
        if (($settings['on_unavailable'] ?? null) === 'inline') {
            throw new InvalidArgumentException(
                'cannot use option on_unavailable: inline is what the framework\'s own "sync" is for'
            );
        }
        $env += Runtime::fields($php, $bootstrap)['env'] ?? [];
        $runtime = ['cwd' => $folder] + ($env === [] ? [] : ['env' => $env]);
        return new Client($runtimeDir, $php, $bootstrap, ...self::typed($settings), runtime: $runtime);
    }

    /**
     * Return settings with the numbers in them as numbers; what is none stays, for the client to refuse it.
     *
     * @param array<string, mixed> $settings
     * @return array<string, mixed>
     */
    public static function typed(array $settings): array
    {
        foreach ($settings as $name => $value) {
            $settings[$name] = match (true) {
                in_array($name, self::FLOATS, true) => self::number($value, FILTER_VALIDATE_FLOAT),
                in_array($name, self::WHOLES, true) => self::number($value, FILTER_VALIDATE_INT),
                in_array($name, self::SWITCHES, true) => self::number($value, FILTER_VALIDATE_BOOL),
                default => $value,
            };
        }
        return $settings;
    }

    private static function number(mixed $value, int $kind): mixed
    {
        if (is_array($value)) {
            return array_map(static fn (mixed $item): mixed => self::number($item, $kind), $value);
        }
        return is_string($value) ? filter_var($value, $kind, FILTER_NULL_ON_FAILURE) ?? $value : $value;
    }
}
