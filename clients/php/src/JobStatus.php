<?php

declare(strict_types=1);

namespace Sidecar;

use Sidecar\Exception\ProtocolViolation;

/**
 * A job as it was when it was asked for. Instants are Unix seconds, null where there is none yet.
 *
 * What a newer daemon says beyond these is in `all`, by the names of PROTOCOL.md.
 */
final class JobStatus
{
    /**
     * @param list<array<string, mixed>> $attempts oldest first; PROTOCOL.md names the keys
     * @param array{type: string, message: string, traceback: string}|null $error of the newest attempt
     * @param array<string, mixed> $all the status map as it came
     */
    private function __construct(
        public readonly string $id,
        public readonly State $state,
        public readonly ?Outcome $outcome,
        public readonly string $queue,
        public readonly int $priority,
        public readonly string $target,
        public readonly float $submitted,
        public readonly float $due,
        public readonly ?float $expires,
        public readonly ?float $started,
        public readonly ?float $finished,
        public readonly array $attempts,
        public readonly int $failures,
        public readonly int $interruptions,
        public readonly bool $cancelWanted,
        public readonly ?string $waiting,
        public readonly ?string $cold,
        public readonly ?string $reason,
        public readonly ?array $error,
        public readonly ?string $resultError,
        public readonly array $all,
    ) {
    }

    /** Read what the daemon said. */
    public static function of(mixed $map): self
    {
        Silence::begin(); // of what is missing in nonsense PHP would warn
        try {
            return new self(
                $map['id'],
                State::from($map['state']),
                isset($map['outcome']) ? Outcome::from($map['outcome']) : null,
                $map['queue'],
                $map['priority'],
                $map['target'],
                (float) $map['submitted'],
                (float) $map['due'],
                self::instant($map['expires'] ?? null),
                self::instant($map['started'] ?? null),
                self::instant($map['finished'] ?? null),
                $map['attempts'] ?? [],
                $map['failures'],
                $map['interruptions'],
                $map['cancel_wanted'],
                $map['waiting'] ?? null,
                $map['cold'] ?? null,
                $map['reason'] ?? null,
                $map['error'] ?? null,
                $map['result_error'] ?? null,
                $map,
            );
        } catch (\Error $error) {
            throw new ProtocolViolation("cannot read status: {$error->getMessage()}", 0, $error);
        } finally {
            Silence::end();
        }
    }

    /** Say whether it has ended, however it ended. */
    public function done(): bool
    {
        return $this->state === State::Done;
    }

    private static function instant(int|float|null $seconds): ?float
    {
        return $seconds === null ? null : (float) $seconds;
    }
}
