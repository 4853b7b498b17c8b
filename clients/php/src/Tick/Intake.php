<?php

/**
 * The spool: what pages submitted while no tick was at work, put into the queue, each once.
 *
 * A file is deleted when its job is in the queue; killed in between, the next tick finds the id there. What is no job
 * is put into corrupt/, never deleted.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Closure;
use Sidecar\Exception\ProtocolViolation;
use Sidecar\Silence;
use Sidecar\Where;

final class Intake
{
    private const SOME = 20;
    private const LIMIT = 8 * 1024 * 1024; // bytes of one file
    private const KIND = 0170000; // of a file's mode
    private const PLAIN = 0100000;

    /** @var array<string, true> names of what can be neither read nor put aside */
    private array $left = [];

    /** @param Closure(string): void $say */
    public function __construct(
        private readonly string $spool,
        private readonly Queue $queue,
        private readonly Closure $say,
    ) {
    }

    /**
     * Take in some of what is there, oldest first: each is a sync of the disk, and nobody keeps deadlines meanwhile.
     *
     * @return array{list<Entry>, bool} the jobs that came, and whether there is more
     */
    public function takeSome(): array
    {
        $names = $this->names();
        $taken = array_map($this->take(...), array_slice($names, 0, self::SOME));
        return [array_values(array_filter($taken)), count($names) > self::SOME];
    }

    /** Return how many files are there to be taken in. */
    public function count(): int
    {
        return count($this->names());
    }

    /** @return list<string> */
    private function names(): array
    {
        $names = Ground::quietly(fn () => scandir("{$this->spool}/new"), "cannot read {$this->spool}/new");
        return array_values(array_diff($names, ['.', '..'], array_map(strval(...), array_keys($this->left))));
    }

    private function take(string $name): ?Entry
    {
        $path = "{$this->spool}/new/{$name}";
        Silence::begin();
        $data = $this->read($path);
        Silence::end();
        if ($data === null) { // another tick was faster
            return null;
        }
        try {
            $job = is_string($data) ? Descriptor::parse($data, microtime(true)) : $data;
        } catch (ProtocolViolation $error) {
            $job = $error;
        }
        if ($job instanceof ProtocolViolation) {
            $this->putAside($name, $job->getMessage());
            return null;
        }
        try {
            $isNew = $this->queue->insert($job);
        } catch (TooLarge $error) { // else it would keep all that come behind it
            $this->putAside($name, $error->getMessage());
            return null;
        }
        Silence::begin();
        unlink($path);
        Silence::end();
        return $isNew ? $job : null;
    }

    /** Read a plain file with one name that belongs to us: no link, no device, nothing that could block. */
    private function read(string $path): string|ProtocolViolation|null
    {
        clearstatcache();
        $about = lstat($path);
        if ($about === false) {
            return null;
        }
        if (($about['mode'] & self::KIND) !== self::PLAIN || $about['nlink'] !== 1) {
            return new ProtocolViolation('is no plain file');
        }
        if ($about['uid'] !== Where::uid()) {
            return new ProtocolViolation("is of user {$about['uid']}, this tick serves its own user alone");
        }
        if ($about['size'] > self::LIMIT) {
            return new ProtocolViolation('is over ' . self::LIMIT . ' bytes');
        }
        $data = file_get_contents($path);
        if ($data === false) {
            clearstatcache();
            return file_exists($path) ? new ProtocolViolation('cannot be read') : null;
        }
        return $data;
    }

    private function putAside(string $name, string $why): void
    {
        ($this->say)("spool file {$name}: {$why}: put into {$this->spool}/corrupt");
        $kept = substr($name, 0, 200) . '.' . hrtime(true); // nothing that was put aside before is replaced
        Silence::begin();
        $moved = rename("{$this->spool}/new/{$name}", "{$this->spool}/corrupt/{$kept}");
        $why = Silence::said();
        Silence::end();
        if (!$moved) {
            $this->left[$name] = true;
            ($this->say)("cannot put spool file {$name} aside: {$why}; it is left where it is");
        }
    }
}
