<?php

/**
 * Where the jobs of ticks are kept. Several ticks may share one, of several hosts even, so each step is exclusive here:
 * the lock that keeps ticks of one host apart is not relied on.
 *
 * Two implementations: a table through PDO (SQLite, MySQL and MariaDB), and a folder.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

interface Queue
{
    /** Where a job may be that is not done, in the order in which it is told. */
    public const PLACES = ['running' => 0, 'queued' => 0, 'scheduled' => 0];

    /**
     * Keep a job that waits, or one that was refused; false: its id is there already, and nothing was changed.
     *
     * @throws TooLarge when this queue can never keep it
     */
    public function insert(Entry $job): bool;

    /**
     * Take the next job that is due, or not started by its `expires`, count the attempt, and return it; null: none.
     *
     * It is kept before it is returned: whoever dies from now on leaves a job that is claimed. Higher priorities go
     * first; within one queues take turns, the one that comes behind `$after` first.
     *
     * @param list<string> $shut lanes of which nothing can start now
     */
    public function claim(float $now, string $owner, string $after, array $shut): ?Entry;

    /** Keep what has become of a job that we have claimed: it is done, or waits again. */
    public function record(Entry $job): void;

    /** @return list<Entry> the jobs that `$owner` has claimed */
    public function claimed(string $owner): array;

    /**
     * Return when the next job comes due or expires; null: none waits.
     *
     * @param list<string> $shut lanes of which nothing can start now
     */
    public function nextDue(array $shut): ?float;

    /** @return array<string, int> how many are not done, by where they are, without zeros */
    public function left(float $now): array;

    /** @return list<Entry> up to two jobs whose id, in hexadecimal, begins so: enough to know whether it is unique */
    public function find(string $digits): array;

    /** @return list<Entry> the newest jobs first */
    public function newest(int $most): array;

    /** Delete what is done: what succeeded before the first instant, what did not before the second one. */
    public function forget(float $succeeded, float $others): void;
}
