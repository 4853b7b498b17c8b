<?php

declare(strict_types=1);

namespace Sidecar\Tests\Tick;

use PHPUnit\Framework\TestCase;
use Sidecar\Tick\Entry;
use Sidecar\Tick\Rules;

final class RulesTest extends TestCase
{
    /** @param array<string, mixed> $options */
    private static function job(array $options = []): Entry
    {
        $body = ['argv' => ['x'], ...$options];
        $job = new Entry(str_repeat("\x01", 16), 'default', 0, 50.0, null, null, $body, 'x', 50.0);
        $job->take('somebody');
        return $job;
    }

    /** @return array<string, mixed> */
    private static function ending(string $reason = 'exit', ?int $status = 0, ?int $signal = null): array
    {
        return [
            'reason' => $reason, 'status' => $status, 'signal' => $signal, 'started' => 99.0, 'ended' => 100.0,
            'report' => [], 'output' => 'said', 'dropped' => 0, 'survivors' => 0,
        ];
    }

    /** @return iterable<string, array{array<string, mixed>, array<string, mixed>, string, ?string}> */
    public static function endings(): iterable
    {
        yield 'status 0' => [[], self::ending(), 'done', 'succeeded'];
        yield 'status 1' => [[], self::ending('exit', 1), 'done', 'failed'];
        yield 'a signal' => [[], self::ending('exit', null, 9), 'done', 'failed'];
        yield 'its time over' => [[], self::ending('timeout', null, 9), 'done', 'timed_out'];
        yield 'status 0 when its time was over' => [[], self::ending('timeout'), 'done', 'timed_out'];
        yield 'a retry' => [['retries' => 1], self::ending('exit', 1), 'waiting', null];
        yield 'a retry after its time' => [['retries' => 1], self::ending('timeout', null, 15), 'waiting', null];
        yield 'our time over' => [[], self::ending('shutdown', null, 15), 'waiting', null];
        yield 'a crash' => [[], self::ending('crash', null), 'waiting', null];
        yield 'a crash, once' => [['at_most_once' => true], self::ending('crash', null), 'done', 'lost'];
        yield 'our time over, once' => [['at_most_once' => true], self::ending('shutdown', 0), 'done', 'lost'];
        yield 'a failure, once' => [['at_most_once' => true], self::ending('exit', 1), 'done', 'failed'];
    }

    /**
     * @dataProvider endings
     * @param array<string, mixed> $options
     * @param array<string, mixed> $ending
     */
    public function testAnEndingLeadsToAState(array $options, array $ending, string $state, ?string $outcome): void
    {
        $job = self::job($options);
        Rules::conclude($job, $ending, 0.5);
        self::assertSame([$state, $outcome], [$job->state, $job->outcome]);
        self::assertNull($job->owner);
        self::assertSame('said', $job->output);
    }

    public function testThreeCrashesAreTheLastOnes(): void
    {
        $job = self::job(['retries' => 100]);
        foreach (['waiting', 'waiting', 'done'] as $state) {
            Rules::conclude($job, self::ending('crash', null), 0.5);
            self::assertSame($state, $job->state);
        }
        self::assertSame(['lost', 3, 0], [$job->outcome, $job->interruptions, $job->failures]);
    }

    public function testACallThatEndsWithoutAReportHasFailed(): void
    {
        $job = new Entry(str_repeat("\x01", 16), 'default', 0, 50.0, null, 'packed', ['call' => 'x'], 'x', 50.0);
        Rules::conclude($job, self::ending(), 0.5);
        self::assertSame(['failed', 'NoResult'], [$job->outcome, $job->history[0]['error']['type']]);
    }

    public function testPauses(): void
    {
        self::assertSame(7.0, Rules::pause(1, [7, 9], 0.5));
        self::assertSame(9.0, Rules::pause(5, [7, 9], 0.5));
        self::assertSame(2.0, Rules::pause(3, [], 0.5), 'half of 1 * 2^2');
        self::assertSame(300.0, Rules::pause(500, [], 0.5), 'half of the cap');
        self::assertSame(5.0, Rules::pause(9, ['base' => 3, 'cap' => 10], 0.5));
    }
}
