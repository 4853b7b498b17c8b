<?php

declare(strict_types=1);

namespace Sidecar\Tests\Tick;

use PHPUnit\Framework\TestCase;
use Sidecar\Tick\Entry;
use Sidecar\Tick\FolderQueue;
use Sidecar\Tick\PdoQueue;
use Sidecar\Tick\Queue;
use Sidecar\Tick\QueueError;

/**
 * What every queue does, over a folder and SQLite; with MySQL the tests of the whole ticks do.
 */
final class QueueTest extends TestCase
{
    private string $folder;

    protected function setUp(): void
    {
        $this->folder = sys_get_temp_dir() . '/sidecar-' . bin2hex(random_bytes(6));
        mkdir($this->folder, 0700);
    }

    protected function tearDown(): void
    {
        foreach (['/*/*', '/*/*/*', '/*'] as $depth) {
            array_map(unlink(...), array_filter(glob($this->folder . $depth), is_file(...)));
        }
        foreach (['/*/*', '/*', ''] as $depth) {
            array_map(rmdir(...), array_filter(glob($this->folder . $depth), is_dir(...)));
        }
    }

    /** @return iterable<string, array{string}> */
    public static function kinds(): iterable
    {
        yield 'folder' => ['folder'];
        if (extension_loaded('pdo_sqlite')) {
            yield 'sqlite' => ['sqlite'];
        }
    }

    private function open(string $kind): Queue
    {
        return $kind === 'folder'
            ? new FolderQueue("{$this->folder}/queue")
            : new PdoQueue("sqlite:{$this->folder}/queue.sqlite");
    }

    private static function job(
        int $number,
        float $due = 10.0,
        string $queue = 'default',
        int $priority = 0,
        ?float $expires = null,
        ?string $runtime = null,
    ): Entry {
        $id = str_pad(pack('N', $number), 16, "\0");
        return new Entry($id, $queue, $priority, $due, $expires, $runtime, ['argv' => ['x']], "job {$number}", $due);
    }

    /** @return list<string> targets in the order in which they are claimed */
    private static function claims(Queue $queue, float $now = 100.0): array
    {
        $claimed = [];
        $after = '';
        while (($job = $queue->claim($now, 'us', $after, [])) !== null) {
            $claimed[] = $job->target;
            $after = $job->queue;
        }
        return $claimed;
    }

    /** @dataProvider kinds */
    public function testTheSameIdIsTheSameJob(string $kind): void
    {
        $queue = $this->open($kind);
        self::assertTrue($queue->insert(self::job(1)));
        self::assertFalse($queue->insert(self::job(1, queue: 'another')));
        $job = $queue->claim(100.0, 'us', '', []);
        self::assertFalse($queue->insert(self::job(1)), 'while it runs');
        $job->finish('succeeded', 101.0);
        $queue->record($job);
        self::assertFalse($queue->insert(self::job(1)), 'when it is done');
        self::assertEquals([$job], $this->open($kind)->newest(10));
    }

    /** @dataProvider kinds */
    public function testTheOrder(string $kind): void
    {
        $queue = $this->open($kind);
        $jobs = [
            self::job(1, 5.0, 'b'), self::job(2, 4.0, 'a'), self::job(3, 3.0, 'b'), self::job(4, 9.0, 'c', 1),
            self::job(5, 1.0, 'A', -1), self::job(6, 200.0, 'a', 100),
        ];
        array_map($queue->insert(...), $jobs);
        self::assertSame(['job 4', 'job 2', 'job 3', 'job 1', 'job 5'], self::claims($queue));
        self::assertSame(['running' => 5, 'scheduled' => 1], $queue->left(100.0));
        self::assertSame(200.0, $queue->nextDue([]));
        self::assertSame(['job 6'], self::claims($queue, 200.0));
        self::assertNull($queue->nextDue([]));
    }

    /** @dataProvider kinds */
    public function testWhatExpiresIsClaimedUnlessItHasBegun(string $kind): void
    {
        $queue = $this->open($kind);
        $queue->insert(self::job(1, 500.0, expires: 50.0));
        self::assertSame(50.0, $queue->nextDue([]));
        $job = $queue->claim(50.0, 'us', '', []);
        self::assertSame(50.0, $job->mustStart());
        $job->remember(['number' => 1]);
        $job->release(500.0);
        $queue->record($job);
        self::assertSame(500.0, $queue->nextDue([]));
        self::assertNull($queue->claim(60.0, 'us', '', []));
    }

    /** @dataProvider kinds */
    public function testLanesThatAreShutAreLeftOut(string $kind): void
    {
        $queue = $this->open($kind);
        $queue->insert($shut = self::job(1, 5.0, runtime: 'gone'));
        $queue->insert(self::job(2, 6.0, runtime: 'there'));
        self::assertSame(6.0, $queue->nextDue([$shut->lane()]));
        self::assertSame('job 2', $queue->claim(100.0, 'us', '', [$shut->lane(), 'more'])->target);
        self::assertNull($queue->claim(100.0, 'us', '', [$shut->lane()]));
        self::assertSame(['running' => 1, 'queued' => 1], $queue->left(100.0));
    }

    /** @dataProvider kinds */
    public function testAClaimIsItsOwners(string $kind): void
    {
        $queue = $this->open($kind);
        array_map($queue->insert(...), [self::job(1), self::job(2)]);
        $ours = $queue->claim(100.0, 'us', '', []);
        $theirs = $this->open($kind)->claim(100.0, 'them', '', []);
        self::assertSame(1, $ours->attempts);
        self::assertEquals([$ours], $queue->claimed('us'));
        self::assertEquals([$theirs], $queue->claimed('them'));
        self::assertSame([], $queue->claimed('nobody'));
    }

    /** @dataProvider kinds */
    public function testFindingByTheBeginningOfAnId(string $kind): void
    {
        $queue = $this->open($kind);
        array_map($queue->insert(...), [self::job(0x11112222), self::job(0x11113333), self::job(0x44440000)]);
        self::assertCount(2, $queue->find('1111'));
        self::assertSame('job ' . 0x11113333, $queue->find('111133')[0]->target);
        self::assertSame([], $queue->find('5555'));
    }

    /** @dataProvider kinds */
    public function testWhatIsForgotten(string $kind): void
    {
        $queue = $this->open($kind);
        $now = microtime(true);
        foreach (['succeeded', 'failed', 'lost'] as $number => $outcome) {
            $queue->insert(self::job($number));
            $job = $queue->claim(100.0, 'us', '', []);
            $job->finish($outcome, $now);
            $queue->record($job);
        }
        $queue->forget($now - 10, $now - 10);
        self::assertCount(3, $queue->newest(10));
        $queue->forget($now + 10, $now - 10);
        $left = array_map(static fn (Entry $job): ?string => $job->outcome, $queue->newest(10));
        sort($left);
        self::assertSame(['failed', 'lost'], $left);
    }

    public function testAFileThatWasOnItsWayIsBroughtWhereItBelongs(): void
    {
        $queue = $this->open('folder');
        array_map($queue->insert(...), [self::job(1), self::job(2)]);
        $done = $queue->claim(100.0, 'us', '', []);
        $done->finish('succeeded', 101.0);
        file_put_contents("{$this->folder}/queue/running/" . bin2hex($done->id), $done->pack()); // not moved
        [$name] = array_values(preg_grep('/^0/', scandir("{$this->folder}/queue/waiting")));
        $half = "{$this->folder}/queue/running/" . substr($name, 0, 32);
        rename("{$this->folder}/queue/waiting/{$name}", $half); // not written
        $queue = $this->open('folder');
        self::assertSame(['queued' => 1], $queue->left(200.0));
        self::assertSame('succeeded', $queue->find(bin2hex($done->id))[0]->outcome);
        self::assertSame(1, $queue->claim(200.0, 'us', '', [])->attempts);
    }

    public function testADamagedRecordDoesNotStandBeforeAllOthers(): void
    {
        if (!extension_loaded('pdo_sqlite')) {
            $this->expectNotToPerformAssertions();
            return;
        }
        $queue = $this->open('sqlite');
        array_map($queue->insert(...), [self::job(1), self::job(2)]);
        $database = new \PDO("sqlite:{$this->folder}/queue.sqlite");
        $database->exec("UPDATE sidecar_job SET record = 'no job' WHERE seq = 1");
        self::assertSame(['job 2'], self::claims($queue));
        self::assertSame(['running' => 1], $queue->left(100.0));
        self::assertCount(1, $queue->newest(10));
    }

    public function testADamagedFileIsPutAside(): void
    {
        $queue = $this->open('folder');
        array_map($queue->insert(...), [self::job(1), self::job(2)]);
        [$name] = array_values(preg_grep('/^0/', scandir("{$this->folder}/queue/waiting")));
        file_put_contents("{$this->folder}/queue/waiting/{$name}", 'no job');
        self::assertSame(['job 2'], self::claims($queue));
        self::assertCount(1, preg_grep('/^0/', scandir("{$this->folder}/queue/corrupt")));
    }

    public function testWhatIsNoJobOfAFolderIsLeftWhereItIs(): void
    {
        $queue = $this->open('folder');
        $queue->insert(self::job(1));
        $strays = ["{$this->folder}/queue/waiting/.nfs0001", "{$this->folder}/queue/done/notes,of,mine"];
        array_map(static fn (string $path) => file_put_contents($path, 'x'), $strays);
        $queue = $this->open('folder');
        self::assertSame(10.0, $queue->nextDue([]));
        self::assertSame(['job 1'], self::claims($queue));
        self::assertCount(1, $queue->newest(10));
        self::assertSame($strays, array_values(array_filter($strays, is_file(...))));
        array_map(unlink(...), $strays);
    }

    public function testAJobThatCannotBeReadJustNowIsNotDamaged(): void
    {
        $queue = $this->open('folder');
        $queue->insert(self::job(1));
        $path = glob("{$this->folder}/queue/waiting/*")[0];
        $gone = "{$this->folder}/queue/out-of-reach";
        rename($path, $gone);
        symlink($path, $path); // a file that is there, and that nobody can open
        try {
            $queue->claim(100.0, 'us', '', []);
            self::fail('it was claimed');
        } catch (QueueError $error) {
            self::assertStringContainsString('cannot read', $error->getMessage());
        }
        self::assertSame([], glob("{$this->folder}/queue/corrupt/*"));
        array_map(unlink(...), glob("{$this->folder}/queue/running/*"));
    }
}
