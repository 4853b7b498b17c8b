<?php

declare(strict_types=1);

namespace Sidecar\Tests;

use PHPUnit\Framework\TestCase;
use Sidecar\Exception\ProtocolViolation;
use Sidecar\JobStatus;
use Sidecar\Outcome;
use Sidecar\State;

final class JobStatusTest extends TestCase
{
    private const MAP = [
        'id' => '019ab1c2-0000-7000-8000-000000000001', 'state' => 'done', 'outcome' => 'failed', 'queue' => 'default',
        'priority' => 0, 'target' => 'f', 'submitted' => 1, 'due' => 1.5, 'expires' => null, 'started' => 2,
        'finished' => 3.5, 'attempts' => [], 'failures' => 1, 'interruptions' => 0, 'cancel_wanted' => false,
        'waiting' => null, 'cold' => null, 'reason' => null, 'result_error' => null,
        'error' => ['type' => 'E', 'message' => 'm', 'traceback' => ''],
    ];

    public function testWhatTheDaemonSaysIsRead(): void
    {
        $status = JobStatus::of(self::MAP + ['later' => 'more']);
        $this->assertSame([State::Done, Outcome::Failed, true], [$status->state, $status->outcome, $status->done()]);
        $instants = [$status->submitted, $status->due, $status->started, $status->finished];
        $this->assertSame([1.0, 1.5, 2.0, 3.5], $instants);
        $this->assertSame(['m', 'more'], [$status->error['message'], $status->all['later']]);
    }

    /** @return iterable<string, array{mixed}> */
    public static function nonsense(): iterable
    {
        yield 'nothing' => [null];
        yield 'a text' => ['done'];
        yield 'an empty map' => [[]];
        yield 'a state that is none' => [['state' => 'dancing'] + self::MAP];
        yield 'a priority that is a text' => [['priority' => 'high'] + self::MAP];
        yield 'no failures' => [array_diff_key(self::MAP, ['failures' => 1])];
    }

    /** @dataProvider nonsense */
    public function testNonsenseIsAViolationAndNoWarning(mixed $map): void
    {
        $this->expectException(ProtocolViolation::class);
        JobStatus::of($map);
    }
}
