<?php

/**
 * A job as a queue keeps it: what was submitted, and what became of it so far.
 *
 * A queue searches a few of its fields and stores all of them as packed here. `scheduled` and `queued` are one state,
 * `waiting`: which of the two it is, the clock says.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Sidecar\Id;
use Sidecar\Msgpack;

final class Entry
{
    public const WAITING = 'waiting';
    public const RUNNING = 'running';
    public const DONE = 'done';

    private const KEPT = 20; // attempts that are remembered

    public string $state = self::WAITING;
    public ?string $outcome = null;
    public ?string $owner = null;
    public ?float $finished = null;
    public ?string $reason = null;
    public int $attempts = 0;
    public int $failures = 0;
    public int $interruptions = 0;
    public int $crashes = 0;
    /** @var list<array<string, mixed>> attempts that have ended: number, started, ended, reason, status, signal, error */
    public array $history = [];
    public string $output = '';
    public int $dropped = 0;
    public ?string $result = null;
    public ?string $resultError = null;

    /**
     * `$id` is 16 bytes; `$runtime` the packed record, null for a command; `$body` what only an attempt or a retry
     * needs: call, argv, args and kwargs (packed), stdin, env, cwd, timeout, grace, retries, backoff, at_most_once.
     *
     * @param array<string, mixed> $body
     */
    public function __construct(
        public readonly string $id,
        public readonly string $queue,
        public readonly int $priority,
        public float $due,
        public readonly ?float $expires,
        public readonly ?string $runtime,
        public readonly array $body,
        public readonly string $target,
        public readonly float $submitted,
    ) {
    }

    public function pack(): string
    {
        return Msgpack::encode(get_object_vars($this));
    }

    /** @throws \Throwable when these bytes are no packed job */
    public static function unpack(string $packed): self
    {
        $all = Msgpack::decode($packed);
        $names = ['id', 'queue', 'priority', 'due', 'expires', 'runtime', 'body', 'target', 'submitted'];
        $made = new self(...array_intersect_key($all, array_flip($names)));
        foreach (array_diff_key($all, array_flip($names)) as $name => $value) {
            $made->$name = $value;
        }
        return $made;
    }

    /** Make the record of a job that was refused, so that its id leads to the reason. */
    public static function rejected(string $id, string $reason, float $now): self
    {
        $made = new self($id, 'default', 0, $now, null, null, [], '', $now);
        $made->reason = $reason;
        $made->finish('rejected', $now);
        return $made;
    }

    public function finish(string $outcome, float $now): void
    {
        $this->state = self::DONE;
        $this->outcome = $outcome;
        $this->finished = $now;
        $this->owner = null;
    }

    /** Let it wait, until `$due`. */
    public function release(float $due): void
    {
        $this->state = self::WAITING;
        $this->owner = null;
        $this->due = $due;
    }

    /** Count an attempt and have it be `$owner`'s. */
    public function take(string $owner): void
    {
        $this->state = self::RUNNING;
        $this->owner = $owner;
        $this->attempts++;
    }

    /** Undo `take` where nothing was started. */
    public function giveBack(): void
    {
        $this->attempts--;
        $this->release($this->due);
    }

    /** @param array<string, mixed> $attempt */
    public function remember(array $attempt): void
    {
        $this->history = array_slice([...$this->history, $attempt], -self::KEPT);
    }

    /** Give up what its attempts have left behind but how they ended: there is no room for more. */
    public function shrink(): void
    {
        $this->dropped += strlen($this->output);
        $this->output = '';
        if ($this->result !== null) {
            [$this->result, $this->resultError] = [null, 'the return value is too large for the queue\'s database'];
        }
        foreach ($this->history as $place => ['error' => $error]) {
            $this->history[$place]['error'] = $error === null ? null : ['traceback' => ''] + array_map(
                static fn (string $text): string => substr($text, 0, 1000),
                $error
            );
        }
    }

    /** The instant by which it must have been started; null: none, or it has been. */
    public function mustStart(): ?float
    {
        return $this->history === [] && $this->interruptions === 0 ? $this->expires : null;
    }

    /** Jobs of one lane need the same to start. */
    public function lane(): string
    {
        return $this->runtime === null ? '' : substr(md5($this->runtime), 0, 16);
    }

    /** Where it is, in the words of PROTOCOL.md. */
    public function where(float $now): string
    {
        return $this->state !== self::WAITING ? $this->state : ($this->due > $now ? 'scheduled' : 'queued');
    }

    public function name(): string
    {
        return Id::show($this->id);
    }

    public function timeout(): float
    {
        return $this->body['timeout'] ?? 600.0;
    }

    public function grace(): float
    {
        return $this->body['grace'] ?? 5.0;
    }

    public function isAtMostOnce(): bool
    {
        return $this->body['at_most_once'] ?? false;
    }

    /** Whether a failure of the attempt that begins now is the job's own: no try is left. */
    public function isLastTry(): bool
    {
        return $this->isAtMostOnce() || $this->failures >= ($this->body['retries'] ?? 0);
    }
}
