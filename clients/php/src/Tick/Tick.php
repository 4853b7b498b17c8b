<?php

/**
 * One run: takes in the spool, runs what is due, ends when nothing is left to do now or its time is over.
 *
 * It begins with what earlier ticks left: whoever holds the lock of the state folder knows that they are dead, so what
 * bears this folder's name in the queue was interrupted. Its processes are ended before it is anybody's again.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Closure;
use Sidecar\Silence;

final class Tick
{
    private const LOOK = 0.5; // seconds between two looks for what others bring, into the spool and into the queue
    private const PAUSES = [0.001, 0.02]; // seconds between two looks at what runs: the first, and the longest
    private const NAP = 0.2; // seconds at most, while nothing runs and something comes due
    private const KEPT = [86400.0, 14 * 86400.0]; // seconds that can be asked for: what succeeded, what did not

    private readonly float $began;
    private readonly float $since;
    private readonly Runtimes $runtimes;
    private ?Here $here = null;
    /** @var list<Attempt> */
    private array $running = [];
    private string $after = '';
    private int $taken = 0;
    /** @var array<string, int> */
    private array $ended = [];
    private int $stops = 0;
    private ?float $stoppedAt = null;
    private float $lookAt = -INF; // into the queue, while nothing of ours changes in it

    /** @param Closure(string): void $say */
    public function __construct(
        private readonly Ground $ground,
        private readonly Queue $queue,
        private readonly Intake $intake,
        private readonly Closure $say,
        private readonly float $for,
        private readonly float $drain,
        private int $slots,
    ) {
        $this->began = microtime(true);
        $this->since = self::now();
        $this->runtimes = new Runtimes();
        class_exists(QueueError::class); // while there are descriptors to load it by
    }

    /** Work, and say at the end what was done. */
    public function run(): void
    {
        array_map($this->say, Lost::lines());
        if (!Lost::canProcesses()) {
            $this->here = new Here($this->conclude(...), $this->report(...));
        }
        $this->heedSignals();
        try {
            $this->recover();
            $this->queue->forget($this->began - self::KEPT[0], $this->began - self::KEPT[1]);
            $this->work();
        } finally {
            array_map(static fn (Attempt $attempt) => $attempt->abandon(), $this->running);
        }
        $this->report();
    }

    /** Ask it to end: what runs may finish while `drain` lasts. A second time: at once. */
    public function stop(): void
    {
        $this->stops++;
    }

    private function heedSignals(): void
    {
        if (function_exists('pcntl_signal') && function_exists('pcntl_async_signals')) {
            pcntl_async_signals(true);
            foreach ([SIGTERM, SIGINT] as $number) {
                pcntl_signal($number, $this->stop(...));
            }
        }
    }

    private function recover(): void
    {
        foreach ($this->queue->claimed($this->ground->owner) as $job) {
            [$found, $gone] = Lost::canProcesses() ? (new Leash($this->ground->state, $job->id))->end() : [0, true];
            if (!$gone) {
                ($this->say)("job {$job->name()} of an earlier tick still runs and cannot be ended");
                continue;
            }
            $this->conclude($job, [
                'reason' => 'crash', 'status' => null, 'signal' => null, 'started' => null,
                'ended' => microtime(true), 'report' => [], 'output' => '', 'dropped' => 0, 'survivors' => $found,
            ]);
        }
    }

    private function work(): void
    {
        $looked = -INF;
        $pause = self::PAUSES[0];
        while (true) {
            $isOpen = $this->stops === 0 && self::now() < $this->since + $this->for;
            if ($isOpen && self::now() >= $looked + self::LOOK) {
                $looked = $this->takeIn() ? -INF : self::now();
            }
            $hasEnded = $this->look();
            if (($isOpen && $this->startNext()) || $hasEnded) {
                $pause = self::PAUSES[0];
                continue;
            }
            if (!$isOpen) {
                $this->drain();
            }
            if ($this->running !== []) {
                $this->await($pause = min(2 * $pause, self::PAUSES[1]));
                continue;
            }
            if (!$isOpen || (!$this->takeIn() && !$this->nap())) {
                return;
            }
        }
    }

    /** Take in some of the spool; returns whether there was something, so that there may be more. */
    private function takeIn(): bool
    {
        [$taken, $isMore] = $this->intake->takeSome();
        $this->taken += count($taken);
        $this->lookAt = $taken !== [] ? -INF : $this->lookAt;
        foreach ($taken as $job) {
            if ($job->state === Entry::DONE) { // refused: it was wrong when it was written
                ($this->say)(Log::refused($job));
                $this->count($job);
            }
        }
        return $isMore || $taken !== [];
    }

    /** Wait for the next job that comes due in time; false: there is none. */
    private function nap(): bool
    {
        $due = $this->queue->nextDue($this->runtimes->shut());
        $left = $due === null ? INF : $due - microtime(true);
        if (self::now() + $left > $this->since + $this->for) {
            return false;
        }
        usleep((int) (1e6 * max(0.0, min($left, self::NAP))));
        $this->lookAt = -INF;
        return true;
    }

    private function startNext(): bool
    {
        if (count($this->running) >= $this->slots || self::now() < $this->lookAt) {
            return false;
        }
        $now = microtime(true);
        $job = $this->queue->claim($now, $this->ground->owner, $this->after, $this->runtimes->shut());
        if ($job === null) {
            $this->lookAt = self::now() + self::LOOK;
            return false;
        }
        $this->after = $job->queue;
        $why = $this->runtimes->whyNot($job);
        if ($job->mustStart() !== null && $job->mustStart() <= $now) {
            $job->giveBack();
            $job->finish('expired', $now);
            $this->keep($job, 'not started in time');
        } elseif ($why !== null) {
            $job->giveBack();
            $this->keep($job, $why);
        } else {
            $this->start($job);
        }
        return true;
    }

    private function start(Entry $job): void
    {
        if ($this->here !== null) {
            $this->here->run($job);
            return;
        }
        $lock = null;
        try {
            $leash = new Leash($this->ground->state, $job->id);
            $leash->isThere() && $leash->end();
            $lock = $leash->take();
            if ($lock !== null) {
                $this->running[] = new Attempt($job, $leash, $lock, $this->ground->state);
                return;
            }
        } catch (QueueError $error) { // no process, no descriptor, no room for its plan: not the job's doing
            is_resource($lock) && fclose($lock);
            $job->giveBack();
            $this->keep($job, 'could not be started');
            if ($this->running === []) {
                throw $error;
            }
            ($this->say)("{$error->getMessage()}; no more jobs at a time than now"); // those have what is wanting
            $this->slots = count($this->running);
            return;
        }
        $job->giveBack();
        $job->due = microtime(true) + 60;
        $this->keep($job, 'what an earlier attempt has started still runs and cannot be ended');
    }

    /** Look at what runs; returns whether something has ended. */
    private function look(): bool
    {
        $over = array_filter($this->running, static fn (Attempt $attempt): bool => $attempt->isOver());
        $this->running = array_values(array_diff_key($this->running, $over));
        foreach ($over as $attempt) {
            $this->lookAt = -INF;
            $this->conclude($attempt->job, $attempt->ending());
        }
        return $over !== [];
    }

    private function await(float $pause): void
    {
        $read = array_values(array_filter(array_map(static fn (Attempt $each) => $each->pipe(), $this->running)));
        $write = $except = null;
        $microseconds = (int) (1e6 * $pause);
        if ($read === []) {
            usleep($microseconds);
            return;
        }
        Silence::begin(); // a signal is told as a warning
        stream_select($read, $write, $except, 0, $microseconds);
        Silence::end();
    }

    private function drain(): void
    {
        $over = self::now() >= $this->since + $this->for + $this->drain;
        if ($this->stops > 0) {
            $this->stoppedAt ??= self::now();
            $over = $over || $this->stops > 1 || self::now() >= $this->stoppedAt + $this->drain;
        }
        if ($over) {
            array_map(static fn (Attempt $attempt) => $attempt->interrupt(), $this->running);
        }
    }

    /** @param array<string, mixed> $ending */
    private function conclude(Entry $job, array $ending): void
    {
        Rules::conclude($job, $ending, lcg_value());
        $this->keep($job, Log::ending($job, $ending));
    }

    private function keep(Entry $job, string $how): void
    {
        $this->queue->record($job);
        ($this->say)(Log::job($job, $how, microtime(true)));
        if ($job->state === Entry::DONE) {
            $this->count($job);
        }
    }

    private function count(Entry $done): void
    {
        $this->ended[$done->outcome] = ($this->ended[$done->outcome] ?? 0) + 1;
    }

    private function report(): void
    {
        $left = [...$this->queue->left(microtime(true)), ...array_filter(['in the spool' => $this->intake->count()])];
        ($this->say)(Log::run($this->began, self::now() - $this->since, $this->taken, $this->ended, $left));
    }

    private static function now(): float
    {
        return hrtime(true) / 1e9;
    }
}
