<?php

/**
 * Giving a job away: datagram, else stream, else what the caller's policy says; all of it within one deadline.
 *
 *     datagram --taken--> sent
 *         | no room in time, too large, or a stronger ack wanted
 *     stream ----reply--> what the reply says
 *         | nobody there, or no answer in time
 *     policy: spool | throw | drop | inline
 *
 * The job carries its id from the start, so a stream that did not answer in time may be followed by a spool file: were
 * both taken in, the second is the first.
 */

declare(strict_types=1);

namespace Sidecar;

use Sidecar\Exception\ConnectionFailed;
use Sidecar\Exception\ProtocolViolation;
use Sidecar\Exception\TimedOut;

final class Door
{
    public readonly Handoff $handoff;
    private ?Control $control = null;
    /** @var array<string, self> */
    private static array $doors = [];

    private function __construct(private readonly ?string $runtimeDir)
    {
        $this->handoff = new Handoff($runtimeDir);
    }

    /** Return the stream; most pages never come to it. */
    public function control(): Control
    {
        return $this->control ??= new Control($this->runtimeDir);
    }

    /** Return the door of a runtime folder (null: the first in which there is a daemon), the same one each time. */
    public static function of(?string $runtimeDir): self
    {
        return self::$doors[$runtimeDir ?? ''] ??= new self($runtimeDir);
    }

    /**
     * Hand over one job and return the ack that is true in the end.
     *
     * @param array<string, mixed> $options checked
     */
    public function deliver(string $id, string $message, array $options): string
    {
        $ack = $options['ack'] ?? 'sent';
        $seconds = $options['deadline'] ?? Terms::DEADLINE;
        $now = hrtime(true) / 1e9; // Clock::now(), without a file to load on every page
        try {
            if ($ack === 'sent' && $this->byDatagram($message, $now + $seconds / 2)) {
                return 'sent';
            }
            return $this->byStream($message, $ack, $now + $seconds);
        } catch (ConnectionFailed | TimedOut $problem) {
            return $this->withoutDaemon($id, $message, $options['on_unavailable'] ?? 'spool', $problem);
        }
    }

    /**
     * Hand over several jobs with the same options in one write, and return their acks in order.
     *
     * @param list<array{string, string, array<string, mixed>}> $parcels id, message, checked options
     * @return list<string>
     */
    public function deliverAll(array $parcels): array
    {
        $params = [];
        foreach ($parcels as [, $message, $options]) {
            $params[] = self::params($message, $options['ack']);
        }
        $options = $parcels[0][2] ?? [];
        $ends = Clock::now() + ($options['deadline'] ?? Terms::DEADLINE);
        try {
            return array_map(self::ack(...), $this->control()->requestAll('submit', $params, $ends));
        } catch (ConnectionFailed | TimedOut $problem) {
            $policy = $options['on_unavailable'] ?? 'spool'; // some may have come through: twice is once, by the id
            return array_map(fn (array $parcel): string => $this->withoutDaemon(
                $parcel[0],
                $parcel[1],
                $policy,
                $problem,
            ), $parcels);
        }
    }

    private function byDatagram(string $message, float $until): bool
    {
        while (($outcome = $this->handoff->push($message)) === Handoff::FULL) {
            $left = $until - Clock::now();
            if ($left <= 0 || !$this->handoff->waitWritable($left)) {
                return false;
            }
        }
        return $outcome === Handoff::TAKEN;
    }

    private function byStream(string $message, string $ack, float $ends): string
    {
        return self::ack($this->control()->request('submit', self::params($message, $ack), $ends));
    }

    private static function ack(mixed $result): string
    {
        $ack = is_array($result) ? $result['ack'] ?? null : null;
        return is_string($ack) ? $ack : throw new ProtocolViolation('cannot read answer: a submit without an ack');
    }

    private static function params(string $message, string $ack): string
    {
        $job = substr($message, strlen(Plan::ENVELOPE));
        return $ack === 'sent' ? "\x91{$job}" : "\x92{$job}" . Msgpack::encode($ack);
    }

    private function withoutDaemon(string $id, string $message, string $policy, \RuntimeException $problem): string
    {
        switch ($policy) {
            case 'spool':
                try {
                    Spool::write($this->runtimeDir, $id, $message);
                    return 'spooled';
                } catch (ConnectionFailed $second) {
                    throw new ConnectionFailed("{$problem->getMessage()}; {$second->getMessage()}", 0, $problem);
                }
            case 'drop':
                return 'dropped';
            case 'inline':
                Inline::run(Msgpack::decode(substr($message, strlen(Plan::ENVELOPE))));
                return 'inline';
            default:
                throw $problem;
        }
    }
}
