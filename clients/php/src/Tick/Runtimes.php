<?php

/**
 * Whether jobs of a runtime can be started now. Where they cannot they wait, as with the daemon: a deploy in progress
 * fails no job. Looked at once in a tick.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Sidecar\Silence;

final class Runtimes
{
    private const OLDEST = 80100; // PHP_VERSION_ID

    /** @var array<string, string|null> by lane */
    private array $known = [];

    /** Return why a job cannot be started now, with the cure; null: it can. */
    public function whyNot(Entry $job): ?string
    {
        $lane = $job->lane();
        if (!array_key_exists($lane, $this->known)) {
            Silence::begin();
            $this->known[$lane] = $job->runtime === null ? $this->command() : $this->call($job->runtime);
            Silence::end();
        }
        return $this->known[$lane];
    }

    /** @return list<string> the lanes of which nothing can start */
    public function shut(): array
    {
        return array_map(strval(...), array_keys(array_filter($this->known, is_string(...))));
    }

    private function command(): ?string
    {
        return Lost::canProcesses() ? null : 'this php has no proc_open, so it runs no commands; enable it';
    }

    private function call(string $packed): ?string
    {
        $record = Descriptor::runtime($packed);
        if (($record['kind'] ?? 'python') === 'python') {
            return 'it is Python: `sidecar tick` runs it, this one runs PHP and commands';
        }
        $maySee = (string) ini_get('open_basedir') === '';
        foreach ($maySee ? ['worker', 'bootstrap'] : [] as $name) {
            if (isset($record[$name]) && !is_file($record[$name])) {
                return "{$record[$name]} is not there; finish the deploy, or submit with its new path";
            }
        }
        return Lost::canProcesses() && $maySee ? $this->interpreter($record['interpreter']) : null;
    }

    private function interpreter(string $path): ?string
    {
        if ($path === PHP_BINARY) {
            return null;
        }
        $null = ['file', '/dev/null', 'r+'];
        $ask = [$path, '-n', '-r', "echo PHP_VERSION_ID, ' ', PHP_SAPI;"];
        $asked = is_executable($path) ? proc_open($ask, [$null, ['pipe', 'w'], $null], $pipes) : false;
        if ($asked === false) {
            return "{$path} is not there or cannot be run; install that PHP, or submit with the path of one that is";
        }
        $said = trim((string) stream_get_contents($pipes[1], 200));
        proc_close($asked);
        [$version, $kind] = explode(' ', $said) + ['', ''];
        return $kind === 'cli' && (int) $version >= self::OLDEST
            ? null
            : "{$path} is no command-line PHP >= 8.1, it says '{$said}'; give the path of one: new Client(php: …)";
    }
}
