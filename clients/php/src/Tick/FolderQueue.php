<?php

/**
 * Jobs in a folder, for a php without a database: one file each, written beside and renamed.
 *
 *     waiting/<id>,<due>,<expires>,<priority>,<queue>,<lane>     running/<id>     done/<id>
 *
 * Names have all that a claim looks at. Every step is made under one lock. A job moves by way of running/: renamed to
 * there, written anew, and renamed to where it belongs; so there is never a second file of it, and the file says where
 * it belongs: what is found in running/ and says otherwise was on its way when its tick died, and is brought there.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Closure;
use Throwable;

final class FolderQueue implements Queue
{
    private const PARTS = ['waiting', 'running', 'done', 'tmp', 'corrupt'];
    // Of jobs; what else somebody has left there (.nfs…, .DS_Store) is not looked at.
    private const NAMES = [
        'waiting' => '/^[0-9a-f]{32}(,[^,]*){5}\z/', 'running' => '/^[0-9a-f]{32}\z/', 'done' => '/^[0-9a-f]{32}\z/',
    ];

    /** @var resource */
    private $lock;

    /** @throws QueueError when the folder cannot be used */
    public function __construct(private readonly string $folder)
    {
        foreach (self::PARTS as $part) {
            Ground::folder("{$folder}/{$part}", '--queue');
        }
        $this->lock = Ground::open("{$folder}/lock");
        $this->exclusively($this->mend(...));
    }

    public function insert(Entry $job): bool
    {
        return $this->exclusively(function () use ($job): bool {
            $digits = bin2hex($job->id);
            if (is_file("{$this->folder}/running/{$digits}") || is_file("{$this->folder}/done/{$digits}")) {
                return false;
            }
            if (preg_grep("/^{$digits}/", $this->names('waiting')) !== []) {
                return false;
            }
            $this->write($job, $this->place($job));
            return true;
        });
    }

    public function claim(float $now, string $owner, string $after, array $shut): ?Entry
    {
        return $this->exclusively(function () use ($now, $owner, $after, $shut): ?Entry {
            while (($name = $this->next($now, $after, $shut)) !== null) {
                $digits = substr($name, 0, 32);
                $this->move("waiting/{$name}", "running/{$digits}");
                $job = $this->read("running/{$digits}");
                if ($job !== null) {
                    $job->take($owner);
                    $this->write($job, "running/{$digits}");
                    return $job;
                }
            }
            return null;
        });
    }

    public function record(Entry $job): void
    {
        $this->exclusively(function () use ($job): void {
            $running = 'running/' . bin2hex($job->id);
            $this->write($job, $running);
            $this->move($running, $this->place($job));
        });
    }

    public function claimed(string $owner): array
    {
        return array_values(array_filter(
            $this->exclusively(fn (): array => $this->all('running')),
            static fn (Entry $job): bool => $job->owner === $owner
        ));
    }

    public function nextDue(array $shut): ?float
    {
        $instants = [];
        foreach ($this->names('waiting') as $name) {
            [, $due, $expires, , , $lane] = explode(',', $name);
            if (!in_array($lane, $shut, true)) {
                $instants[] = (float) ($expires === '' ? $due : min((float) $due, (float) $expires));
            }
        }
        return $instants === [] ? null : min($instants);
    }

    public function left(float $now): array
    {
        $counts = [...self::PLACES, 'running' => count($this->names('running'))];
        foreach ($this->names('waiting') as $name) {
            $counts[(float) explode(',', $name)[1] > $now ? 'scheduled' : 'queued']++;
        }
        return array_filter($counts);
    }

    public function find(string $digits): array
    {
        return $this->exclusively(function () use ($digits): array {
            $found = [];
            foreach (['waiting', 'running', 'done'] as $part) {
                foreach ($this->names($part) as $name) {
                    if (str_starts_with($name, $digits) && count($found) < 2) {
                        $found[] = $this->read("{$part}/{$name}");
                    }
                }
            }
            return array_values(array_filter($found));
        });
    }

    public function newest(int $most): array
    {
        return $this->exclusively(function () use ($most): array {
            $jobs = [...$this->all('waiting'), ...$this->all('running'), ...$this->all('done')];
            usort($jobs, static fn (Entry $one, Entry $other): int => $other->submitted <=> $one->submitted);
            return array_slice($jobs, 0, $most);
        });
    }

    public function forget(float $succeeded, float $others): void
    {
        $this->exclusively(function () use ($succeeded, $others): void {
            foreach ($this->names('done') as $name) {
                $written = filemtime("{$this->folder}/done/{$name}");
                if ($written < max($succeeded, $others)) {
                    $job = $this->read("done/{$name}");
                    $until = $job?->outcome === 'succeeded' ? $succeeded : $others;
                    $job !== null && $job->finished < $until && unlink("{$this->folder}/done/{$name}");
                }
            }
        });
    }

    /** @param list<string> $shut */
    private function next(float $now, string $after, array $shut): ?string
    {
        $best = $key = null;
        foreach ($this->names('waiting') as $name) {
            [$digits, $due, $expires, $priority, $queue, $lane] = explode(',', $name);
            $isDue = (float) $due <= $now || ($expires !== '' && (float) $expires <= $now);
            if (!$isDue || in_array($lane, $shut, true)) {
                continue;
            }
            $rank = [-(int) $priority, strcmp($queue, $after) > 0 ? 0 : 1, $queue, (float) $due, $digits];
            if ($key === null || $rank < $key) {
                [$best, $key] = [$name, $rank];
            }
        }
        return $best;
    }

    private function place(Entry $job): string
    {
        $digits = bin2hex($job->id);
        if ($job->state !== Entry::WAITING) {
            return "{$job->state}/{$digits}";
        }
        $must = $job->mustStart();
        $expires = $must === null ? '' : sprintf('%.6F', $must);
        return sprintf('waiting/%s,%.6F,%s,%d,%s,', $digits, $job->due, $expires, $job->priority, $job->queue)
            . $job->lane();
    }

    /** Bring to its place what was on its way when a tick died. */
    private function mend(): void
    {
        foreach ($this->all('running') as $job) {
            if ($job->state !== Entry::RUNNING) {
                $this->move('running/' . bin2hex($job->id), $this->place($job));
            }
        }
        foreach ($this->names('tmp') as $name) {
            unlink("{$this->folder}/tmp/{$name}");
        }
    }

    /** @return list<Entry> */
    private function all(string $part): array
    {
        $read = fn (string $name): ?Entry => $this->read("{$part}/{$name}");
        return array_values(array_filter(array_map($read, $this->names($part))));
    }

    /** @return list<string> */
    private function names(string $part): array
    {
        $names = Ground::quietly(fn () => scandir("{$this->folder}/{$part}"), "cannot read {$this->folder}/{$part}");
        return array_values(preg_grep(self::NAMES[$part] ?? '/[^.]/', $names));
    }

    /** Return a job; null: its file is damaged, and was put aside. One that cannot be opened just now is neither. */
    private function read(string $path): ?Entry
    {
        $read = fn () => file_get_contents("{$this->folder}/{$path}");
        $packed = Ground::quietly($read, "cannot read {$this->folder}/{$path}");
        try {
            return Entry::unpack($packed);
        } catch (Throwable) {
            $this->move($path, 'corrupt/' . basename($path) . '.' . hrtime(true));
            Log::say("{$this->folder}/{$path} is damaged: put into {$this->folder}/corrupt");
            return null;
        }
    }

    private function write(Entry $job, string $path): void
    {
        $draft = "{$this->folder}/tmp/" . bin2hex($job->id);
        Ground::write($draft, $job->pack());
        $this->move('tmp/' . basename($draft), $path);
    }

    private function move(string $from, string $to): void
    {
        $move = fn (): bool => rename("{$this->folder}/{$from}", "{$this->folder}/{$to}");
        Ground::quietly($move, "cannot move {$this->folder}/{$from}");
    }

    private function exclusively(Closure $what): mixed
    {
        Ground::quietly(fn (): bool => flock($this->lock, LOCK_EX), "cannot lock {$this->folder}");
        try {
            return $what();
        } finally {
            flock($this->lock, LOCK_UN);
        }
    }
}
