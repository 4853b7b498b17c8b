<?php

/**
 * What the end of an attempt means for its job: the daemon's rules (sidecar/policy.py), as arithmetic alone.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

final class Rules
{
    public const MOST_CRASHES = 3; // an attempt that went down with its tick, or took it along, this often: lost

    /**
     * Put down in the job how its attempt has ended, and what is to become of it.
     *
     * `reason` of the ending is exit (by itself), timeout, shutdown (our time was over) or crash (its tick died);
     * `report` what the attempt told: result, result_error or error; with that perhaps retry, the job's own word, when
     * to try again (seconds), or that nobody should (false). `$dice` is a number from 0 to 1.
     *
     * @param array{reason: string, status: ?int, signal: ?int, started: ?float, ended: float,
     *     report: array<string, mixed>, output: string, dropped: int, survivors: int} $ending
     */
    public static function conclude(Entry $job, array $ending, float $dice): void
    {
        ['reason' => $reason, 'report' => $report, 'ended' => $now] = $ending;
        $error = self::whatWentWrong($ending, isset($job->body['argv']));
        $attempt = ['number' => $job->attempts, ...array_diff_key($ending, ['report' => 1, 'output' => 1])];
        $job->remember([...$attempt, 'error' => $error]);
        $job->output = $ending['output'];
        $job->dropped = $ending['dropped'];
        if ($reason === 'shutdown' || $reason === 'crash') {
            self::interrupt($job, $reason, $now);
        } elseif ($error === null) {
            $job->result = $report['result'] ?? null;
            $job->resultError = $report['result_error'] ?? null;
            $job->finish('succeeded', $now);
        } elseif ($job->isLastTry() || ($report['retry'] ?? null) === false) {
            $job->failures++;
            $job->finish($reason === 'timeout' ? 'timed_out' : 'failed', $now);
        } else {
            $job->failures++;
            $pause = $report['retry'] ?? self::pause($job->failures, $job->body['backoff'] ?? [], $dice);
            $job->release($now + $pause);
        }
    }

    /**
     * Return the seconds until the next try after the n-th failure: from the list of them, whose last one repeats; else
     * at random up to min(cap, base * 2^(n - 1)).
     *
     * @param array<int|string, float> $backoff
     */
    public static function pause(int $failures, array $backoff, float $dice): float
    {
        if ($backoff !== [] && array_is_list($backoff)) {
            return (float) $backoff[min($failures, count($backoff)) - 1];
        }
        return $dice * min($backoff['cap'] ?? 600.0, ($backoff['base'] ?? 1.0) * 2.0 ** min($failures - 1, 60));
    }

    /** An interruption is not the job's failure: it runs again, and that costs no retry. */
    private static function interrupt(Entry $job, string $reason, float $now): void
    {
        $job->interruptions++;
        $job->crashes += (int) ($reason === 'crash');
        if ($job->isAtMostOnce()) {
            $how = $reason === 'shutdown' ? 'was ended with its tick' : 'went down with its tick or the machine';
            $job->reason = "it {$how}, how far it had come is not known, and at_most_once forbids a second start";
            $job->finish('lost', $now);
        } elseif ($job->crashes >= self::MOST_CRASHES) {
            $job->reason = "its tick or the machine died under it {$job->crashes} times";
            $job->finish('lost', $now);
        } else {
            $job->release($job->due);
        }
    }

    /**
     * @param array<string, mixed> $ending
     * @return array{type: string, message: string, traceback: string}|null null: it did its work
     */
    private static function whatWentWrong(array $ending, bool $isCommand): ?array
    {
        ['reason' => $reason, 'report' => $report, 'signal' => $signal, 'status' => $status] = $ending;
        return match (true) {
            $reason === 'timeout' => self::error('Timeout', 'did not end in time and was ended'),
            $reason === 'shutdown' => self::error('Interrupted', 'the time of its tick was over'),
            $reason === 'crash' => self::error('Interrupted', 'its tick died'),
            isset($report['error']) => $report['error'],
            $signal !== null => self::error('Signal', "was killed by signal {$signal}"),
            $status !== 0 => self::error('ExitStatus', "ended with status {$status}"),
            !$isCommand && $report === [] => self::error(
                'NoResult',
                'the process ended with status 0 before the function had returned'
            ),
            default => null,
        };
    }

    /** @return array{type: string, message: string, traceback: string} */
    public static function error(string $type, string $message): array
    {
        return ['type' => $type, 'message' => $message, 'traceback' => ''];
    }
}
