<?php

/**
 * `on_unavailable: 'inline'`: run the job here and now, because nobody else would.
 *
 * It runs what was packed, so that a job sees the same arguments here and there. Without what only a daemon gives: no
 * deadline for a call, no process of its own, no retry. What a call throws is written to PHP's error log, not thrown:
 * the submitter is not what failed.
 */

declare(strict_types=1);

namespace Sidecar;

use Throwable;

final class Inline
{
    /** @param array<string, mixed> $job as it was packed */
    public static function run(array $job): void
    {
        try {
            isset($job['argv']) ? self::command($job) : self::call($job);
        } catch (Throwable $error) {
            error_log('job ' . Id::show($job['id']) . " failed, run inline: {$error}");
        }
    }

    /** @param array<string, mixed> $job */
    private static function call(array $job): void
    {
        $args = isset($job['args']) ? Msgpack::decode($job['args']) : [];
        $kwargs = isset($job['kwargs']) ? Msgpack::decode($job['kwargs']) : [];
        $runtime = isset($job['runtime']) ? Msgpack::decode($job['runtime']) : [];
        if (isset($runtime['bootstrap'])) {
            require_once $runtime['bootstrap'];
        }
        $target = new Target($job['call'], null, $runtime['bootstrap'] ?? null);
        try {
            $target->call([...$args, ...$kwargs]);
        } catch (Throwable $error) {
            if ($error instanceof GiveUp || $error instanceof TryAgain) {
                $error = $error->getPrevious() ?? $error;
            }
            $target->tell($error);
            throw $error;
        }
    }

    /** @param array<string, mixed> $job */
    private static function command(array $job): void
    {
        $null = ['file', '/dev/null', 'w'];
        $given = isset($job['stdin']) ? ['pipe', 'r'] : ['file', '/dev/null', 'r'];
        $environment = isset($job['env']) ? [...getenv(), ...$job['env']] : null;
        $process = proc_open($job['argv'], [$given, $null, $null], $pipes, $job['cwd'] ?? null, $environment);
        if ($process === false) {
            throw new \RuntimeException("cannot run {$job['argv'][0]}");
        }
        if (isset($job['stdin'])) {
            fwrite($pipes[0], $job['stdin']);
            fclose($pipes[0]);
        }
        $status = proc_close($process);
        if ($status !== 0) {
            throw new \RuntimeException("ended with status {$status}");
        }
    }
}
