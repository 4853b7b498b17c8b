<?php

/**
 * What ties the processes of an attempt to it, so that they are found and ended, even by a later tick.
 *
 * Each attempt has a file that is locked, and its processes inherit the lock: as long as it is taken, one of them
 * lives; the kernel says so, whoever started them and however that one died. Who they are, /proc says: their
 * environment names the job, else they have the file open. A process that empties its environment and closes its
 * descriptors gets away.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Sidecar\Id;
use Sidecar\Silence;

final class Leash
{
    public const DESCRIPTOR = 5;

    private const PATIENCE = 5.0; // seconds; dying takes the kernel a moment, longer where a disk hangs
    private const PAUSE = 2000; // microseconds

    private readonly string $path;
    private readonly string $mark;
    private readonly int $self;

    public function __construct(string $state, string $id)
    {
        $this->path = "{$state}/leash/" . bin2hex($id);
        $this->mark = 'SIDECAR_JOB_ID=' . Id::show($id);
        $this->self = (int) getmypid();
    }

    /** @return resource|null the lock, for the processes of a new attempt; null: one of an earlier attempt has it */
    public function take()
    {
        $file = Ground::open($this->path);
        return flock($file, LOCK_EX | LOCK_NB) ? $file : null;
    }

    /** Say whether something may be left of an earlier attempt: of one that has ended the file is gone. */
    public function isThere(): bool
    {
        clearstatcache();
        return is_file($this->path);
    }

    /**
     * Kill whatever is left of the attempt.
     *
     * @return array{int, bool} how many there were, and whether none is there any more
     */
    public function end(): array
    {
        $seen = [];
        $ends = hrtime(true) / 1e9 + self::PATIENCE;
        do {
            $found = $this->processes();
            $seen += array_flip($found);
            Signals::send('KILL', $found);
            $gone = $found === [] && $this->isFree();
            $gone || usleep(self::PAUSE);
        } while (!$gone && hrtime(true) / 1e9 < $ends);
        Silence::begin();
        $gone && unlink($this->path);
        Silence::end();
        return [count($seen), $gone];
    }

    private function isFree(): bool
    {
        if (!is_file($this->path)) {
            return true;
        }
        return $this->take() !== null;
    }

    /** @return list<int> */
    private function processes(): array
    {
        Silence::begin();
        try {
            $pids = preg_grep('/^[0-9]+\z/', scandir('/proc') ?: []);
            $found = array_filter($pids, $this->isMarked(...));
            if ($found === [] && !$this->isFree()) { // one that has another environment: this is a longer look
                $found = array_filter($pids, $this->holds(...));
            }
        } finally {
            Silence::end();
        }
        return array_values(array_diff(array_map(intval(...), $found), [$this->self]));
    }

    private function isMarked(string $pid): bool
    {
        $environment = file_get_contents("/proc/{$pid}/environ");
        return is_string($environment) && str_contains("\0{$environment}\0", "\0{$this->mark}\0");
    }

    private function holds(string $pid): bool
    {
        foreach (scandir("/proc/{$pid}/fd") ?: [] as $descriptor) {
            if ($descriptor[0] !== '.' && readlink("/proc/{$pid}/fd/{$descriptor}") === $this->path) {
                return true;
            }
        }
        return false;
    }
}
