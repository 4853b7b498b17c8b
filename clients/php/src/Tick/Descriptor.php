<?php

/**
 * What a job may say, checked as the daemon does (sidecar/descriptor.py): spool files may come from anywhere.
 *
 * A field without a row is refused, never ignored. A job that is wrong but has an id becomes a `rejected` one, so that
 * its id tells why.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use InvalidArgumentException;
use Sidecar\Bytes;
use Sidecar\Exception\ProtocolViolation;
use Sidecar\Id;
use Sidecar\Map;
use Sidecar\Msgpack;
use Sidecar\Terms;

final class Descriptor
{
    private const CALLS = [
        'php' => '/^[^\W\d]\w*(\\\\[^\W\d]\w*)*(::[^\W\d]\w*)?\z/u',
        'python' => '/^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*\z/u',
    ];
    private const OWN = [
        'id' => 1, 'call' => 1, 'argv' => 1, 'args' => 1, 'kwargs' => 1, 'runtime' => 1, 'expires' => 1,
    ];
    private const RUNTIME = [ // each field, and the kind that it belongs to
        'kind' => '', 'interpreter' => '', 'cwd' => '', 'env' => '',
        'path' => 'python', 'setup' => 'python', 'worker' => 'php', 'bootstrap' => 'php',
    ];
    private const NEEDED = ['python' => ['interpreter'], 'php' => ['interpreter', 'worker']];
    private const NOT_WIRED = ['ack' => 1, 'on_unavailable' => 1, 'deadline' => 1];
    private const NOT_BODY = ['queue' => 1, 'priority' => 1, 'delay' => 1, 'run_at' => 1];

    /**
     * Return the job of a hand-off's bytes, a rejected one where it is wrong.
     *
     * @throws ProtocolViolation when not even an id can be read
     */
    public static function parse(string $data, float $now): Entry
    {
        $value = Msgpack::decode($data);
        $isHandOff = is_array($value) && array_is_list($value) && count($value) === 3
            && $value[0] === 2 && $value[1] === 'submit' && is_array($value[2]) && count($value[2]) === 1;
        $fields = $isHandOff ? reset($value[2]) : null;
        if (!is_array($fields)) {
            throw new ProtocolViolation('is no hand-off');
        }
        $id = self::id($fields['id'] ?? null);
        try {
            return self::job($id, $fields, $now);
        } catch (InvalidArgumentException $error) {
            return Entry::rejected($id, $error->getMessage(), $now);
        }
    }

    private static function id(mixed $given): string
    {
        if (is_string($given) && strlen($given) === 16) {
            return $given;
        }
        try {
            return is_string($given) ? Id::parse($given) : throw new InvalidArgumentException();
        } catch (InvalidArgumentException) {
            throw new ProtocolViolation('is a hand-off without an id');
        }
    }

    /** @param array<int|string, mixed> $fields */
    private static function job(string $id, array $fields, float $now): Entry
    {
        if (isset($fields['task'])) {
            throw new InvalidArgumentException(
                'cannot submit job: tasks are named in the configuration of a daemon, here there is none; name the call'
            );
        }
        $options = array_diff_key($fields, self::OWN);
        foreach (array_intersect_key($options, self::NOT_WIRED) as $name => $_) {
            throw new InvalidArgumentException("cannot submit job: unknown option {$name}");
        }
        if (in_array(null, $fields, true)) {
            $name = array_search(null, $fields, true);
            throw new InvalidArgumentException("cannot submit job: {$name} is nil, leave it out");
        }
        if (!self::isEnvironment($fields['env'] ?? []) || !self::isFolder($fields['cwd'] ?? '/')) {
            throw new InvalidArgumentException('cannot submit job: env is no map of texts, or cwd no absolute path');
        }
        $options = array_map(self::plain(...), Terms::check($options));
        $expires = $fields['expires'] ?? null;
        if ($expires !== null && (is_string($expires) || !is_numeric($expires) || $expires < 0 || $expires > 1e11)) {
            throw new InvalidArgumentException('cannot submit job: expires is no instant, give Unix seconds');
        }
        [$target, $body, $runtime] = isset($fields['argv']) ? self::command($fields) : self::call($fields);
        return new Entry(
            $id,
            $options['queue'] ?? 'default',
            $options['priority'] ?? 0,
            $options['run_at'] ?? $now + ($options['delay'] ?? 0.0),
            $expires === null ? null : (float) $expires,
            $runtime,
            [...$body, ...array_diff_key($options, self::NOT_BODY)],
            $target,
            $now,
        );
    }

    private static function plain(mixed $value): mixed
    {
        return match (true) {
            $value instanceof Map => $value->entries,
            $value instanceof Bytes => $value->bytes,
            default => $value,
        };
    }

    /**
     * @param array<int|string, mixed> $fields
     * @return array{string, array<string, mixed>, null}
     */
    private static function command(array $fields): array
    {
        $argv = $fields['argv'];
        if (isset($fields['call']) || isset($fields['args']) || isset($fields['kwargs'])) {
            throw new InvalidArgumentException('cannot submit job: an argv goes without call, args and kwargs');
        }
        $isWord = static fn (mixed $word): bool => is_string($word) && !str_contains($word, "\0");
        $isList = is_array($argv) && array_is_list($argv) && array_filter($argv, $isWord) === $argv;
        if (!$isList || ($argv[0] ?? '') === '') {
            throw new InvalidArgumentException('cannot submit job: argv is no list of texts, first the program');
        }
        $shown = array_map(self::shown(...), array_slice($argv, 0, 100));
        return [substr(implode(' ', $shown), 0, 1000), ['argv' => $argv], null];
    }

    private static function shown(string $word): string
    {
        return preg_match('#^[\w@%+=:,./-]+\z#', $word) === 1 ? $word : "'" . strtr($word, ["'" => "'\\''"]) . "'";
    }

    /**
     * @param array<int|string, mixed> $fields
     * @return array{string, array<string, mixed>, string}
     */
    private static function call(array $fields): array
    {
        $call = $fields['call'] ?? throw new InvalidArgumentException('cannot submit job: give a call or an argv');
        $runtime = self::document($fields['runtime'] ?? [], 'runtime');
        $record = self::runtime($runtime);
        $kind = $record['kind'] ?? 'python';
        if (isset($fields['runtime']) && $record === []) {
            throw new InvalidArgumentException('cannot submit job: its runtime names no interpreter');
        }
        if (!is_string($call) || preg_match(self::CALLS[$kind], $call) !== 1) {
            throw new InvalidArgumentException("cannot submit job: call is no name of a function of {$kind}");
        }
        $body = ['call' => $call];
        foreach (['args', 'kwargs'] as $name) {
            if (isset($fields[$name])) {
                $body[$name] = self::document($fields[$name], $name);
            }
        }
        return [$call, $body, $runtime];
    }

    private static function document(mixed $given, string $name): string
    {
        if (is_string($given)) {
            return $given;
        }
        if (!is_array($given) || ($given !== [] && array_is_list($given) !== ($name === 'args'))) {
            $wanted = $name === 'args' ? 'a list' : 'a map';
            throw new InvalidArgumentException("cannot submit job: {$name} is no {$wanted}, nor one packed into a bin");
        }
        return Msgpack::encode($name === 'args' ? $given : new Map($given));
    }

    /**
     * Return what a packed runtime record says. An empty one is the daemon's own Python.
     *
     * @return array<string, mixed>
     * @throws InvalidArgumentException when it is none
     */
    public static function runtime(string $packed): array
    {
        try {
            $record = Msgpack::decode($packed);
        } catch (ProtocolViolation $error) {
            throw new InvalidArgumentException("cannot submit job: its runtime: {$error->getMessage()}");
        }
        $kind = is_array($record) ? $record['kind'] ?? 'python' : null;
        if (!is_string($kind) || !isset(self::CALLS[$kind])) {
            throw new InvalidArgumentException('cannot submit job: runtime.kind is neither php nor python');
        }
        foreach ($record as $name => $value) {
            if (!isset(self::RUNTIME[$name]) || !in_array(self::RUNTIME[$name], ['', $kind], true)) {
                throw new InvalidArgumentException("cannot submit job: runtime.{$name} is no field of kind {$kind}");
            }
            self::checkRuntime((string) $name, $value);
        }
        foreach (self::NEEDED[$kind] as $name) {
            if ($record !== [] && !isset($record[$name])) {
                throw new InvalidArgumentException("cannot submit job: its runtime names no {$name}");
            }
        }
        return $record;
    }

    private static function checkRuntime(string $name, mixed $value): void
    {
        $isRight = match ($name) {
            'kind' => true,
            'env' => self::isEnvironment($value),
            'path' => is_array($value) && array_filter($value, self::isFolder(...)) === $value,
            'setup' => is_string($value) && preg_match(self::CALLS['python'], $value) === 1,
            default => self::isFolder($value),
        };
        if (!$isRight) {
            throw new InvalidArgumentException("cannot submit job: runtime.{$name} is not what PROTOCOL.md says");
        }
    }

    private static function isFolder(mixed $value): bool
    {
        return is_string($value) && preg_match('#^/[^\0]{0,4095}\z#us', $value) === 1;
    }

    private static function isEnvironment(mixed $value): bool
    {
        if (!is_array($value) || ($value !== [] && array_is_list($value))) {
            return false;
        }
        foreach ($value as $name => $text) {
            $isName = preg_match('/^[^=\0]{1,4096}\z/us', (string) $name) === 1;
            if (!$isName || !is_string($text) || str_contains($text, "\0")) {
                return false;
            }
        }
        return true;
    }
}
