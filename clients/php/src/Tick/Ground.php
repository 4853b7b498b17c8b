<?php

/**
 * The state folder of ticks: who is at work in it, and whose it is.
 *
 *     keeper.lock   the lock of `sidecar serve`, `sidecar tick` and ours: one of them at a time
 *     owner         the name that claims of this folder's ticks bear; who holds the lock knows that the others are dead
 *     leash/        a lock for each attempt, see Leash
 *     spool/        what was submitted meanwhile
 *
 * Files are opened so that jobs do not inherit them ('e'): a job that outlives its tick must not hold its lock.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Closure;
use Sidecar\Silence;
use Sidecar\Where;

final class Ground
{
    public readonly string $state; // without links, as /proc names what is in there
    public readonly string $owner;

    /** @var resource|null */
    private $lock = null;

    /** @throws QueueError when the folder cannot be made or used */
    public function __construct(string $state, public readonly string $spool)
    {
        foreach ([$state, "{$state}/leash"] as $path) {
            self::folder($path, '--state');
        }
        $this->state = realpath($state) ?: $state;
        foreach (['tmp', 'new', 'corrupt'] as $part) {
            self::folder("{$spool}/{$part}", '--spool');
        }
    }

    /** Return the folder in which the client looks for a spool, where neither is told one. */
    public static function usual(): string
    {
        return Where::states()[0];
    }

    /** Become the only one at work here until this process ends; null: we are, else who is, in words. */
    public function lock(): ?string
    {
        $lock = self::open("{$this->state}/keeper.lock");
        if (!flock($lock, LOCK_EX | LOCK_NB)) {
            [$verb, $pid] = explode(' ', (string) fread($lock, 100)) + ['', ''];
            return $pid === '' ? 'another one' : "`{$verb}`, process {$pid},";
        }
        ftruncate($lock, 0);
        fwrite($lock, 'tick ' . getmypid());
        fflush($lock);
        $this->lock = $lock;
        $this->owner = $this->name();
        return null;
    }

    private function name(): string
    {
        $path = "{$this->state}/owner";
        $found = is_file($path) ? trim((string) file_get_contents($path)) : '';
        if ($found === '') {
            $found = substr((string) gethostname(), 0, 40) . '-' . bin2hex(random_bytes(8));
            self::write("{$path}.new", $found);
            rename("{$path}.new", $path);
        }
        return $found;
    }

    /** Make a folder, for this user alone. */
    public static function folder(string $path, string $option): void
    {
        self::quietly(
            static fn (): bool => is_dir($path) || mkdir($path, 0700, true) || is_dir($path),
            "cannot make folder {$path}",
            "give another {$option}"
        );
        if (fileowner($path) !== Where::uid()) { // root, say: what it writes there would shut its owner out
            $whose = 'it is of user ' . fileowner($path);
            throw new QueueError("cannot use folder {$path}: {$whose}, run as that user or give another {$option}");
        }
        if (!is_writable($path)) {
            throw new QueueError("cannot use folder {$path}: it is not writable, chmod it or give another {$option}");
        }
    }

    /** @return resource a file to be locked, made where there is none */
    public static function open(string $path)
    {
        return self::quietly(static fn () => fopen($path, 'c+e'), "cannot open {$path}");
    }

    /** Write a whole file; when this returns it is on the disk. */
    public static function write(string $path, string $data): void
    {
        self::quietly(static function () use ($path, $data): bool {
            $file = fopen($path, 'we');
            if ($file === false) {
                return false;
            }
            $whole = fwrite($file, $data) === strlen($data) && fflush($file) && fsync($file);
            return fclose($file) && $whole;
        }, "cannot write {$path}", 'free some space there');
    }

    /** Do what says false when it fails, and make of PHP's warning an error that says what to do. */
    public static function quietly(Closure $what, string $problem, string $cure = 'look at its permissions'): mixed
    {
        Silence::begin();
        try {
            $done = $what();
            $said = Silence::said();
        } finally {
            Silence::end();
        }
        if ($done === false) {
            $why = preg_replace('/^\w+\([^)]*\): (Failed to open stream: )?/', '', $said) ?: 'the disk is full';
            throw new QueueError("{$problem}: {$why}, {$cure}");
        }
        return $done;
    }
}
