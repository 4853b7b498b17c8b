<?php

/**
 * What a tick says: a line for each attempt, and one for the run, in the manner of `sidecar tick`.
 *
 * Texts of a job come from whoever submitted it: control characters are shown, never written.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

final class Log
{
    private const ERROR = 200; // bytes of an error
    // Errors that the ending says already.
    private const SAID = ['ExitStatus', 'Signal', 'Timeout', 'Interrupted'];

    /** Write a line to stderr. */
    public static function say(string $line): void
    {
        $line = 'sidecar-php: ' . self::printable($line) . "\n";
        defined('STDERR') ? fwrite(STDERR, $line) : error_log($line);
    }

    /**
     * Say how an attempt ended, as `sidecar status` does.
     *
     * @param array<string, mixed> $ending
     */
    public static function ending(Entry $job, array $ending): string
    {
        $how = match (true) {
            $ending['signal'] !== null => "signal {$ending['signal']}",
            $ending['status'] !== null => "exit status {$ending['status']}",
            default => 'end not seen',
        };
        $words = [$ending['reason'] === 'exit' ? $how : "{$ending['reason']}, {$how}"];
        $error = end($job->history)['error'] ?? null;
        if ($error !== null && !in_array($error['type'], self::SAID, true)) {
            $words[] = substr("{$error['type']}: {$error['message']}", 0, self::ERROR);
        }
        if ($ending['started'] !== null) {
            $words[] = sprintf('took %.1f s', max(0.0, $ending['ended'] - $ending['started']));
        }
        if ($ending['survivors'] > 0) {
            $words[] = "left behind and ended: {$ending['survivors']}";
        }
        return "attempt {$job->attempts}: " . implode(', ', $words);
    }

    /** Say what has become of a job. */
    public static function job(Entry $job, string $how, float $now): string
    {
        $place = $job->where($now);
        $then = match ($place) {
            'done' => (string) $job->outcome,
            'scheduled' => sprintf('again in %.1f s', $job->due - $now),
            default => $place,
        };
        $reason = $job->reason === null ? '' : " ({$job->reason})";
        return "job {$job->name()} {$job->target}, {$how}; {$then}{$reason}";
    }

    /** Say why a job was not taken. */
    public static function refused(Entry $job): string
    {
        return "job {$job->name()}: {$job->outcome}: {$job->reason}";
    }

    /**
     * Say what a run did.
     *
     * @param array<string, int> $ended
     * @param array<string, int> $left
     */
    public static function run(float $began, float $seconds, int $taken, array $ended, array $left): string
    {
        return sprintf(
            'tick of %s, %.1f s: %d taken from the spool; ended: %s; left: %s',
            date('Y-m-d H:i:s O', (int) $began),
            $seconds,
            $taken,
            self::listed($ended),
            self::listed($left)
        );
    }

    /** Spell out what is no visible character. */
    public static function printable(string $text): string
    {
        $spelt = static fn (array $found): string => sprintf('\x%02x', ord($found[0]));
        return (string) preg_replace_callback('/[\x00-\x1f\x7f]/', $spelt, $text);
    }

    /** @param array<string, int> $counts */
    private static function listed(array $counts): string
    {
        $words = [];
        foreach ($counts as $word => $count) {
            $words[] = "{$count} {$word}";
        }
        return $words === [] ? 'none' : implode(', ', $words);
    }
}
