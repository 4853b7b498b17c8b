<?php

declare(strict_types=1);

namespace Sidecar\Tests\Tick;

use PHPUnit\Framework\TestCase;
use Sidecar\Bytes;
use Sidecar\Exception\ProtocolViolation;
use Sidecar\Map;
use Sidecar\Msgpack;
use Sidecar\Tick\Descriptor;
use Sidecar\Tick\Entry;

final class DescriptorTest extends TestCase
{
    private const ID = "\x01\x9a\xb1\xc2\x00\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\x01";
    private const PHP = ['kind' => 'php', 'interpreter' => '/usr/bin/php', 'worker' => '/w'];

    /** @param array<string, mixed> $fields */
    private static function parsed(array $fields): Entry
    {
        $job = ['id' => new Bytes(self::ID), ...$fields];
        return Descriptor::parse(Msgpack::encode([2, 'submit', [new Map($job)]]), 1000.0);
    }

    public function testACommand(): void
    {
        $job = self::parsed([
            'argv' => ['convert', 'a b.png'], 'queue' => 'q', 'priority' => -3, 'delay' => 5, 'expires' => 2000,
            'retries' => 2, 'backoff' => [1], 'timeout' => 7, 'env' => new Map(['A' => 'b']), 'stdin' => "\xff",
        ]);
        self::assertNull($job->reason);
        self::assertSame([self::ID, 'q', -3, 1005.0, 2000.0], [
            $job->id, $job->queue, $job->priority, $job->due, $job->expires,
        ]);
        self::assertSame("convert 'a b.png'", $job->target);
        self::assertSame([7.0, 5.0, ''], [$job->timeout(), $job->grace(), $job->lane()]);
        self::assertEquals(
            ['argv', 'retries', 'backoff', 'timeout', 'env', 'stdin'],
            array_keys($job->body)
        );
    }

    public function testWhatAQueueKeepsIsTheSameJob(): void
    {
        $runtime = new Bytes(Msgpack::encode(new Map(self::PHP)));
        $args = ['args' => [42, "\xff"], 'kwargs' => []];
        $job = self::parsed(['call' => 'Acme\Mail::send', ...$args, 'runtime' => $runtime]);
        self::assertEquals($job, Entry::unpack($job->pack()));
        self::assertSame([42, "\xff"], Msgpack::decode($job->body['args']));
        self::assertSame('Acme\Mail::send', $job->target);
    }

    /** @return iterable<string, array{array<string, mixed>, string}> */
    public static function wrong(): iterable
    {
        $php = new Map(self::PHP);
        yield 'no target' => [[], 'call or an argv'];
        yield 'two targets' => [['argv' => ['x'], 'call' => 'y'], 'goes without call'];
        yield 'an empty argv' => [['argv' => []], 'first the program'];
        yield 'a word with NUL' => [['argv' => ["x\0"]], 'first the program'];
        yield 'a shell line' => [['argv' => 'rm -rf /'], 'first the program'];
        yield 'an unknown option' => [['argv' => ['x'], 'color' => 'red'], 'color'];
        yield 'an option of the client alone' => [['argv' => ['x'], 'ack' => 'sent'], 'ack'];
        yield 'a negative timeout' => [['argv' => ['x'], 'timeout' => -1], 'timeout'];
        yield 'a float of retries' => [['argv' => ['x'], 'retries' => 1.0], 'retries'];
        yield 'retries, once' => [['argv' => ['x'], 'retries' => 1, 'at_most_once' => true], 'at_most_once'];
        yield 'delay and run_at' => [['argv' => ['x'], 'delay' => 1, 'run_at' => 2], 'delay or run_at'];
        yield 'expires as text' => [['argv' => ['x'], 'expires' => '12'], 'expires'];
        yield 'a Python name in PHP' => [['call' => 'a:b', 'runtime' => $php], 'call'];
        yield 'a PHP name in Python' => [['call' => 'A::b'], 'call'];
        yield 'a runtime of another kind' => [['call' => 'a', 'runtime' => ['kind' => 'perl']], 'kind'];
        yield 'a runtime without a worker' => [
            ['call' => 'a', 'runtime' => new Map(['kind' => 'php', 'interpreter' => '/usr/bin/php'])], 'worker',
        ];
        yield 'a runtime that is no map' => [['call' => 'a', 'runtime' => new Bytes("\xc1")], 'runtime'];
        yield 'a named task' => [['task' => 'mail'], 'tasks'];
    }

    /**
     * @dataProvider wrong
     * @param array<string, mixed> $fields
     */
    public function testWhatIsWrongIsRejectedWithTheReason(array $fields, string $reason): void
    {
        $job = self::parsed($fields);
        self::assertSame(['done', 'rejected', self::ID], [$job->state, $job->outcome, $job->id]);
        self::assertMatchesRegularExpression("/{$reason}/", (string) $job->reason);
    }

    /** @return iterable<string, array{string}> */
    public static function noHandOffs(): iterable
    {
        yield 'nothing' => [''];
        yield 'no msgpack' => ["\xc1"];
        yield 'half of one' => [substr(Msgpack::encode([2, 'submit', [['id' => self::ID]]]), 0, -3)];
        yield 'another verb' => [Msgpack::encode([2, 'cancel', [['id' => self::ID]]])];
        yield 'a request' => [Msgpack::encode([0, 1, 'submit', [['id' => self::ID]]])];
        yield 'no id' => [Msgpack::encode([2, 'submit', [['argv' => ['x']]]])];
        yield 'an id that is none' => [Msgpack::encode([2, 'submit', [['id' => 'seven']]])];
    }

    /** @dataProvider noHandOffs */
    public function testWhatHasNoIdIsNoJob(string $data): void
    {
        $this->expectException(ProtocolViolation::class);
        Descriptor::parse($data, 1000.0);
    }
}
